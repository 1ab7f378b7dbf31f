# Countersign: one non-recursive Makefile. `make help` lists what it can do.
#
#   make                      the programs and the module, in build/release/
#   make FLAVOR=check         the same with all warnings as errors (what the check uses)
#   make FLAVOR=asan          address and undefined-behaviour sanitizers
#   make CC=clang             with the other compiler
#   make V=1                  show the commands

.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules
SHELL = /bin/bash

FLAVOR ?= release
CC = gcc
PREFIX ?= /usr
SYSCONFDIR ?= /etc
BINDIR ?= $(PREFIX)/bin
SBINDIR ?= $(PREFIX)/sbin
LIBEXECDIR ?= $(PREFIX)/libexec/countersign
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
MANDIR ?= $(PREFIX)/share/man
COMPLETIONDIR ?= $(PREFIX)/share/bash-completion/completions
PGINCLUDE ?= $(firstword $(wildcard /usr/include/postgresql) /usr/include)
MULTIARCH := $(shell $(CC) -print-multiarch 2>/dev/null)
PAMDIR ?= $(PREFIX)/lib/$(MULTIARCH)/security

B := build/$(FLAVOR)$(if $(filter clang%,$(CC)),-clang)
Q := $(if $(V),,@)

WARN := -Wall -Wextra -Wshadow -Wvla -Wmissing-prototypes -Wstrict-prototypes -Wconversion \
	-Wformat=2 -Wundef -Wpointer-arith -Wcast-qual
HARDEN := -fstack-protector-strong -fstack-clash-protection -fcf-protection=full \
	-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3
ifneq ($(filter clang%,$(CC)),)
HARDEN := $(filter-out -D_FORTIFY_SOURCE=3,$(HARDEN)) -D_FORTIFY_SOURCE=2
else
HARDEN += -ftrivial-auto-var-init=zero
endif

FLAGS_release := -O2 -g $(HARDEN)
FLAGS_check := -O2 -g $(HARDEN) -Werror -DCOUNTERSIGN_FAULTS
FLAGS_asan := -O1 -g -Werror -DCOUNTERSIGN_FAULTS -fno-omit-frame-pointer \
	-fsanitize=address,undefined -fno-sanitize-recover=all
LINK_asan := -fsanitize=address,undefined
FLAGS_tsan := -O1 -g -Werror -DCOUNTERSIGN_FAULTS -fsanitize=thread
LINK_tsan := -fsanitize=thread

VERSION := 0.1.0
ALL_CFLAGS = -std=gnu17 -isystem $(PGINCLUDE) -D_GNU_SOURCE -DCOUNTERSIGN_VERSION='"$(VERSION)"' $(WARN) \
	$(FLAGS_$(FLAVOR)) -fPIC -fvisibility=hidden -ffile-prefix-map=$(CURDIR)=. $(CFLAGS)
ALL_LDFLAGS = -Wl,-z,relro,-z,now,-z,noexecstack $(LINK_$(FLAVOR)) $(LDFLAGS)

ROOMS := base vault lease identity policy engine server
src = $(sort $(wildcard $(1)/*.c))
obj = $(patsubst %.c,$(B)/%.o,$(1))

LIB_SRC := $(foreach r,$(ROOMS),$(call src,agent/$(r)))
BASE_SRC := $(call src,agent/base)
CONNECTOR_SRC := $(call src,agent/connector)
CLI_SRC := $(call src,agent/cli)
PAM_SRC := $(call src,pam)
UNIT_SRC := $(call src,tests/unit)
BENCH_SRC := $(call src,tests/bench)

LIBS_AGENT := -lsystemd -lsqlite3 -lsodium -ljansson -loath -lpthread
LIBS_CONNECTOR := -lpq -lsodium -ljansson -lsystemd
LIBS_CLI := -lcurl -ljansson -lqrencode -lsodium

PROGRAMS := $(B)/countersignd $(B)/countersign-connector $(B)/countersign
MODULE := $(B)/pam_countersign.so
UNIT_TESTS := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(filter tests/unit/test_%,$(UNIT_SRC)))

MANUALS := $(B)/countersign.1 $(filter-out %.in,$(wildcard packaging/man/*))

.PHONY: all
all: $(PROGRAMS) $(MODULE) $(MANUALS)

.PHONY: help
help:
	@echo 'make            build the three programs and the PAM module'
	@echo 'make demo       as root: play the whole story on a throwaway Debian host'
	@echo 'make check      build strictly and run every test'
	@echo 'make check-fast the unit tests and scenarios only'
	@echo 'make bench      measure the speed, beside the bare limits (BENCH=kv-read: one group)'
	@echo 'make deps       as root: install the Debian packages that are missing'
	@echo 'make install    install (DESTDIR, PREFIX are honoured)'
	@echo 'make format     lay out the sources with clang-format'
	@echo 'make clean      remove build/'

# Flags are part of the prerequisites: change them and everything is rebuilt.
FLAGSTAMP := $(B)/.flags
FLAGTEXT = $(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS)
$(FLAGSTAMP): FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(FLAGTEXT))' | cmp -s - $@ || printf '%s\n' '$(subst ','\'',$(FLAGTEXT))' > $@
.PHONY: FORCE
FORCE:

$(B)/agent/%.o: agent/%.c $(FLAGSTAMP)
	@mkdir -p $(@D)
	@$(if $(V),,echo '  CC      $<')
	$(Q)$(CC) $(ALL_CFLAGS) -Iagent -Iinclude -MMD -MP -c -o $@ $<
$(B)/pam/%.o: pam/%.c $(FLAGSTAMP)
	@mkdir -p $(@D)
	@$(if $(V),,echo '  CC      $<')
	$(Q)$(CC) $(ALL_CFLAGS) -Ipam -Iinclude -MMD -MP -c -o $@ $<
$(B)/tests/%.o: tests/%.c $(FLAGSTAMP)
	@mkdir -p $(@D)
	@$(if $(V),,echo '  CC      $<')
	$(Q)$(CC) $(ALL_CFLAGS) -Iagent -Iinclude -Ipam -Itests -MMD -MP -c -o $@ $<

$(B)/libagent.a: $(call obj,$(LIB_SRC))
$(B)/libbase.a: $(call obj,$(BASE_SRC))
$(B)/libconnector.a: $(call obj,$(filter-out %/main.c,$(CONNECTOR_SRC)))
$(B)/libcli.a: $(call obj,$(filter-out %/main.c,$(CLI_SRC)))
$(B)/libpamcs.a: $(call obj,$(PAM_SRC))
$(B)/%.a:
	@mkdir -p $(@D)
	@$(if $(V),,echo '  AR      $@')
	$(Q)rm -f $@ && $(AR) rcs $@ $^

LINK = @$(if $(V),,echo '  LINK    $@';) $(CC) -pie $(ALL_LDFLAGS) -o $@
$(B)/countersignd: $(B)/agent/main.o $(B)/libagent.a
	$(LINK) $^ $(LIBS_AGENT)
$(B)/countersign-connector: $(B)/agent/connector/main.o $(B)/libconnector.a $(B)/libbase.a
	$(LINK) $^ $(LIBS_CONNECTOR)
$(B)/countersign: $(B)/agent/cli/main.o $(B)/libcli.a $(B)/libbase.a
	$(LINK) $^ $(LIBS_CLI)

# libc and libpam only, exporting pam_sm_* only: it lives in strangers' processes.
$(MODULE): $(call obj,$(PAM_SRC)) pam/pam_countersign.map
	@$(if $(V),,echo '  LINK    $@')
	$(Q)$(CC) -shared $(ALL_LDFLAGS) -Wl,--version-script=pam/pam_countersign.map -Wl,-z,defs \
		-Wl,--as-needed -o $@ $(filter %.o,$^) -lpam

# What the manual says of each command comes from the program itself.
$(B)/countersign.1: packaging/man/countersign.1.in $(B)/countersign
	@$(if $(V),,echo '  MAN     $@')
	$(Q)$(B)/countersign manual-data > $@.part && \
		sed -e '/^@COMMANDS@$$/{r $@.part' -e 'd}' $< > $@ && rm $@.part

$(B)/tests/unit/test_%: $(B)/tests/unit/test_%.o $(B)/libagent.a $(B)/libconnector.a $(B)/libcli.a $(B)/libpamcs.a
	$(LINK) $(filter %.o,$^) $(B)/libpamcs.a $(B)/libconnector.a $(B)/libcli.a $(B)/libagent.a \
		$(sort $(LIBS_AGENT) $(LIBS_CONNECTOR) $(LIBS_CLI)) -lpam -lcmocka

# What scenarios speak raw frames with.
$(B)/frame-client: $(B)/tests/lib/frame-client.o
	$(LINK) $^

# What measures; the one peer that is not needed to build or test is measured where it is installed.
MICROHTTPD := $(wildcard /usr/include/microhttpd.h)
$(B)/tests/bench/bench_constant.o: ALL_CFLAGS += $(if $(MICROHTTPD),-DBENCH_MICROHTTPD)
$(B)/bench: $(call obj,$(BENCH_SRC)) $(B)/libagent.a
	$(LINK) $^ $(LIBS_AGENT) -lpq -lpam -lm $(if $(MICROHTTPD),-lmicrohttpd)
.PHONY: bench-program
bench-program: $(B)/bench

.PHONY: test-programs
test-programs: $(UNIT_TESTS) $(B)/frame-client $(B)/bench

.PHONY: deps
deps:
	@packaging/install-deps

.PHONY: check
check:
	@packaging/install-deps
	@$(MAKE) --no-print-directory -j2 FLAVOR=check all test-programs
	@tests/run-check build/check

# For the developer between two edits: no booted host.
.PHONY: check-fast
check-fast:
	@$(MAKE) --no-print-directory -j2 FLAVOR=$(if $(filter release,$(FLAVOR)),check,$(FLAVOR)) all test-programs
	@tests/run-check $(if $(filter build/release%,$(B)),build/check,$(B)) --fast

# The figures beside their bare limits, in one table. BENCH='kv-read pam' measures those groups only.
.PHONY: bench
bench:
	@packaging/install-deps bench-depends || echo 'bench: going on without what is missing'
	@$(MAKE) --no-print-directory -j2 FLAVOR=release all bench-program
	@tests/bench/run build/release $(BENCH)

.PHONY: demo
demo:
	@packaging/install-deps
	@$(MAKE) --no-print-directory -j2 FLAVOR=release all
	@tests/host/demo

.PHONY: install
install: all
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(SBINDIR) $(DESTDIR)$(LIBEXECDIR) $(DESTDIR)$(PAMDIR) \
		$(DESTDIR)$(UNITDIR) $(DESTDIR)$(SYSUSERSDIR) $(DESTDIR)$(TMPFILESDIR) $(DESTDIR)$(COMPLETIONDIR) \
		$(foreach s,1 5 7 8,$(DESTDIR)$(MANDIR)/man$(s))
	install -m 0755 $(B)/countersign $(DESTDIR)$(BINDIR)/
	install -m 0755 $(B)/countersignd $(DESTDIR)$(SBINDIR)/
	install -m 0755 $(B)/countersign-connector $(DESTDIR)$(LIBEXECDIR)/
	install -m 0644 $(MODULE) $(DESTDIR)$(PAMDIR)/
	install -m 0644 $(sort $(wildcard packaging/*.service packaging/*.socket packaging/*.target)) $(DESTDIR)$(UNITDIR)/
	install -m 0644 packaging/sysusers.conf $(DESTDIR)$(SYSUSERSDIR)/countersign.conf
	install -m 0644 packaging/tmpfiles.conf $(DESTDIR)$(TMPFILESDIR)/countersign.conf
	install -m 0644 packaging/bash-completion $(DESTDIR)$(COMPLETIONDIR)/countersign
	$(foreach s,1 5 7 8,install -m 0644 $(filter %.$(s),$(MANUALS)) $(DESTDIR)$(MANDIR)/man$(s)/ &&) true

.PHONY: format
format:
	clang-format -i $(sort $(wildcard pam/*.[ch] agent/*.c agent/*/*.[ch] include/countersign/*.h tests/*/*.[ch]))

.PHONY: clean
clean:
	rm -rf build

-include $(shell find $(B) -name '*.d' 2>/dev/null)
