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

B := build/$(FLAVOR)$(if $(filter-out fuzz,$(FLAVOR)),$(if $(filter clang%,$(CC)),-clang))
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
# Needs clang; the fuzz targets' own main comes with -fsanitize=fuzzer where they are linked.
FLAGS_fuzz := -O1 -g -Werror -DCOUNTERSIGN_FAULTS -fno-omit-frame-pointer \
	-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
LINK_fuzz := -fsanitize=address,undefined

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
LIBS_CLI := -lcurl -ljansson -lqrencode -lsodium -lncursesw

PROGRAMS := $(B)/countersignd $(B)/countersign-connector $(B)/countersign
MODULE := $(B)/pam_countersign.so
FUZZ_SRC := $(call src,tests/fuzz)
FUZZ_NAMES := $(patsubst tests/fuzz/fuzz_%.c,%,$(filter tests/fuzz/fuzz_%,$(FUZZ_SRC)))
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
	@echo 'make fuzz       fuzz every target for TIME=60 seconds each (TARGET=http: that one)'
	@echo 'make check-durability  1,000 rounds of power cuts (ROUNDS=n, SEED=n)'
	@echo 'make check-crash  every crash point of every operation, at every passing'
	@echo 'make check-nth  every call that can fail, in every operation'
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
# ThreadSanitizer can't come into a stranger's process behind its start, and the module has no threads.
PAM_CFLAGS = $(filter-out -fsanitize=thread,$(ALL_CFLAGS))
$(B)/pam/%.o: pam/%.c $(FLAGSTAMP)
	@mkdir -p $(@D)
	@$(if $(V),,echo '  CC      $<')
	$(Q)$(CC) $(PAM_CFLAGS) -Ipam -Iinclude -MMD -MP -c -o $@ $<
$(B)/tests/%.o: tests/%.c $(FLAGSTAMP)
	@mkdir -p $(@D)
	@$(if $(V),,echo '  CC      $<')
	$(Q)$(CC) $(ALL_CFLAGS) -Iagent -Iinclude -Ipam -Itests -MMD -MP -c -o $@ $<

$(B)/libagent.a: $(call obj,$(LIB_SRC))
$(B)/libbase.a: $(call obj,$(BASE_SRC))
$(B)/libconnector.a: $(call obj,$(filter-out %/main.c,$(CONNECTOR_SRC)))
$(B)/libcli.a: $(call obj,$(filter-out %/main.c,$(CLI_SRC)))
$(B)/libpamcs.a: $(call obj,$(PAM_SRC))
$(B)/libfuzz.a: $(B)/tests/fuzz/whole.o
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
	$(Q)$(CC) -shared $(filter-out -fsanitize=thread,$(ALL_LDFLAGS)) -Wl,--version-script=pam/pam_countersign.map -Wl,-z,defs \
		-Wl,--as-needed -o $@ $(filter %.o,$^) -lpam

# What the manual says of each command comes from the program itself.
$(B)/countersign.1: packaging/man/countersign.1.in $(B)/countersign
	@$(if $(V),,echo '  MAN     $@')
	$(Q)$(B)/countersign manual-data > $@.part && \
		sed -e '/^@COMMANDS@$$/{r $@.part' -e 'd}' $< > $@ && rm $@.part

$(B)/tests/unit/test_%: $(B)/tests/unit/test_%.o $(B)/libagent.a $(B)/libconnector.a $(B)/libcli.a $(B)/libpamcs.a
	$(LINK) $(filter %.o,$^) $(B)/libpamcs.a $(B)/libconnector.a $(B)/libcli.a $(B)/libagent.a \
		$(sort $(LIBS_AGENT) $(LIBS_CONNECTOR) $(LIBS_CLI)) -lpam -lcmocka

# What scenarios speak raw bytes with, and what host cases look into memory with.
TOOLS := $(addprefix $(B)/,frame-client raw-client memory-search)
$(TOOLS): $(B)/%: $(B)/tests/lib/%.o
	$(LINK) $^

# What measures; the one peer that is not needed to build or test is measured where it is installed.
MICROHTTPD := $(wildcard /usr/include/microhttpd.h)
$(B)/tests/bench/bench_constant.o: private ALL_CFLAGS += $(if $(MICROHTTPD),-DBENCH_MICROHTTPD)
$(B)/bench: $(call obj,$(BENCH_SRC)) $(B)/libagent.a
	$(LINK) $^ $(LIBS_AGENT) -lpq -lpam -lm $(if $(MICROHTTPD),-lmicrohttpd)
.PHONY: bench-program
bench-program: $(B)/bench

# What makes things fail around the real programs: at named points, or at the nth call (tests/trial/).
TRIAL_COMMON := $(call obj,$(addprefix tests/trial/,agent.c client.c ops.c pam.c))
# A release has no fault points; the sanitizers have an allocator of their own.
TRIALS := $(if $(filter release,$(FLAVOR)),,$(B)/trial-crash) \
	$(if $(filter check,$(FLAVOR)),$(B)/trial-nth $(B)/trial-shim.so)
$(B)/trial-crash: $(B)/tests/trial/crash.o $(TRIAL_COMMON) $(B)/libbase.a
	$(LINK) $^ -ljansson -lsodium -loath -lpam -lpq

$(B)/trial-nth: $(B)/tests/trial/nth.o $(TRIAL_COMMON) $(B)/libbase.a
	$(LINK) $^ -ljansson -lsodium -loath -lpam
$(B)/trial-shim.so: $(B)/tests/trial/shim.o
	@$(if $(V),,echo '  LINK    $@')
	$(Q)$(CC) -shared $(ALL_LDFLAGS) -o $@ $^ -ldl

# Loaded into the agent where a test sets its clock.
$(B)/wrong-clock.so: $(B)/tests/lib/wrong-clock.o
	$(Q)$(CC) -shared $(ALL_LDFLAGS) -o $@ $^

# The agent after this one, whose dialogue with the module is a version ahead.
$(B)/next/pam.o: agent/server/pam.c $(FLAGSTAMP)
	@mkdir -p $(@D)
	@$(if $(V),,echo '  CC      $< (next)')
	$(Q)$(CC) $(ALL_CFLAGS) -DDIALOGUE_VERSION=2 -Iagent -Iinclude -MMD -MP -c -o $@ $<
$(B)/countersignd-next: $(B)/agent/main.o $(B)/next/pam.o $(B)/libagent.a
	$(LINK) $^ $(LIBS_AGENT)

# A fuzz target: replay_* feeds it the corpus files (part of the check), fuzz_* searches for more.
FUZZ_LIBS := $(B)/libfuzz.a $(B)/libpamcs.a $(B)/libconnector.a $(B)/libagent.a
FUZZ_LINK = $(filter %.o,$^) $(FUZZ_LIBS) $(sort $(LIBS_AGENT) $(LIBS_CONNECTOR)) -lpam
REPLAYS := $(addprefix $(B)/tests/fuzz/replay_,$(FUZZ_NAMES))
FUZZERS := $(addprefix $(B)/tests/fuzz/fuzz_,$(FUZZ_NAMES))
$(REPLAYS): $(B)/tests/fuzz/replay_%: $(B)/tests/fuzz/fuzz_%.o $(B)/tests/fuzz/replay.o $(FUZZ_LIBS)
	$(LINK) $(FUZZ_LINK)
$(FUZZERS): $(B)/tests/fuzz/fuzz_%: $(B)/tests/fuzz/fuzz_%.o $(FUZZ_LIBS)
	$(LINK) -fsanitize=fuzzer $(FUZZ_LINK)

.PHONY: test-programs
test-programs: $(UNIT_TESTS) $(REPLAYS) $(TOOLS) $(B)/countersignd-next $(B)/wrong-clock.so $(TRIALS) $(B)/bench

.PHONY: fuzz-programs
fuzz-programs: $(FUZZERS)

TIME ?= 60
.PHONY: fuzz
fuzz:
	@$(MAKE) --no-print-directory -j2 CC=clang FLAVOR=fuzz fuzz-programs
	@tests/fuzz/search build/fuzz '$(TIME)' $(or $(TARGET),$(FUZZ_NAMES))

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

# Power cuts, at length; `make check` makes 40 rounds of them.
ROUNDS ?= 1000
SEED ?=
.PHONY: check-durability
check-durability:
	@$(MAKE) --no-print-directory FLAVOR=check build/check/tests/unit/test_powercut
	@tests/lib/check-durability build/check $(ROUNDS) $(SEED)

# Every crash point at every passing of every operation; `make check` makes a sample of it.
.PHONY: check-crash
check-crash:
	@$(MAKE) --no-print-directory -j2 FLAVOR=check all test-programs
	@TRIAL_SECONDS=$(SECONDS) TRIAL_EVERY=1 TRIAL_SEED=$(SEED) tests/run-check build/check --scenario 60-crash-points

# Each call that can fail, once and for good, in each operation; `make check` makes a sample of it.
.PHONY: check-nth
check-nth:
	@$(MAKE) --no-print-directory -j2 FLAVOR=check all test-programs
	@TRIAL_SECONDS=$(SECONDS) TRIAL_SEED=$(SEED) tests/run-check build/check --scenario 61-nth-failure
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

# Each file is put beside its place and renamed over it: on a host in use, a login never finds half of a
# module, and programs that run keep the file they began with.
PUT = install -m $(1) $(2) $(3).new && mv -fT $(3).new $(3)
PUT_UNITS := $(sort $(wildcard packaging/*.service packaging/*.socket packaging/*.target))

.PHONY: install
install: all
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(SBINDIR) $(DESTDIR)$(LIBEXECDIR) $(DESTDIR)$(PAMDIR) \
		$(DESTDIR)$(UNITDIR) $(DESTDIR)$(SYSUSERSDIR) $(DESTDIR)$(TMPFILESDIR) $(DESTDIR)$(COMPLETIONDIR) \
		$(foreach s,1 5 7 8,$(DESTDIR)$(MANDIR)/man$(s))
	$(call PUT,0755,$(B)/countersign,$(DESTDIR)$(BINDIR)/countersign)
	$(call PUT,0755,$(B)/countersignd,$(DESTDIR)$(SBINDIR)/countersignd)
	$(call PUT,0755,$(B)/countersign-connector,$(DESTDIR)$(LIBEXECDIR)/countersign-connector)
	$(call PUT,0644,$(MODULE),$(DESTDIR)$(PAMDIR)/$(notdir $(MODULE)))
	for unit in $(PUT_UNITS); do $(call PUT,0644,$$unit,$(DESTDIR)$(UNITDIR)/$${unit##*/}) || exit; done
	$(call PUT,0644,packaging/sysusers.conf,$(DESTDIR)$(SYSUSERSDIR)/countersign.conf)
	$(call PUT,0644,packaging/tmpfiles.conf,$(DESTDIR)$(TMPFILESDIR)/countersign.conf)
	$(call PUT,0644,packaging/bash-completion,$(DESTDIR)$(COMPLETIONDIR)/countersign)
	$(foreach s,1 5 7 8,install -m 0644 $(filter %.$(s),$(MANUALS)) $(DESTDIR)$(MANDIR)/man$(s)/ &&) true

.PHONY: format
format:
	clang-format -i $(sort $(wildcard pam/*.[ch] agent/*.c agent/*/*.[ch] include/countersign/*.h tests/*/*.[ch]))

.PHONY: clean
clean:
	rm -rf build

-include $(shell find $(B) -name '*.d' 2>/dev/null)
