/* The nth failure: for each operation, memory, writing, syncing and the packets between the
 * programs fail at the 1st, 2nd, 3rd … time, once and for good (for a while). Then: no crash, an
 * answer (never a success that does not last), nothing half done, and the agent serves on. The same
 * in the process that has the PAM module, where nothing that failed may let anybody in.
 *
 *   trial-nth BUILD FOLDER [DATABASE-URL PASSWORD]
 *
 * TRIAL_SECONDS=n: a random sample, as much as fits, else each call; TRIAL_ONLY=text:
 * operations with that in their name; TRIAL_KIND=text: kinds; TRIAL_FROM=n: from that call on;
 * TRIAL_TELL=1: each trial; TRIAL_SEED=n. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "trial/shim.h"
#include "trial/trial.h"

#define ROOM_MS 1000
#define ANSWER_MS 8000
#define LEAK_TRIES 4
#define SAMPLE 3 /* of one operation, before the next */

struct plan {
    const char *name;
    enum shim_program in;
    uint32_t kind;
    bool for_good;
    bool logins;   /* for the PAM hooks only */
    bool database; /* for what talks to the connector only */
};

static const struct plan plans[] = {
    {"memory", SHIM_AGENT, SHIM_MALLOC, false, false, false},
    {"memory for good", SHIM_AGENT, SHIM_MALLOC, true, false, false},
    {"writing", SHIM_AGENT, SHIM_WRITE, false, false, false},
    {"writing for good", SHIM_AGENT, SHIM_WRITE, true, false, false},
    {"syncing", SHIM_AGENT, SHIM_SYNC, false, false, false},
    {"syncing for good", SHIM_AGENT, SHIM_SYNC, true, false, false},
    {"sending", SHIM_AGENT, SHIM_SEND, false, false, false},
    {"receiving", SHIM_AGENT, SHIM_RECEIVE, false, false, false},
    {"the connector's memory", SHIM_CONNECTOR, SHIM_MALLOC, false, false, true},
    {"the connector's memory for good", SHIM_CONNECTOR, SHIM_MALLOC, true, false, true},
    {"the connector's sending", SHIM_CONNECTOR, SHIM_SEND, false, false, true},
    {"the connector's receiving", SHIM_CONNECTOR, SHIM_RECEIVE, false, false, true},
    {"the module's memory", SHIM_LOGIN, SHIM_MALLOC, false, true, false},
    {"the module's memory for good", SHIM_LOGIN, SHIM_MALLOC, true, true, false},
    {"the module's sending", SHIM_LOGIN, SHIM_SEND, false, true, false},
    {"the module's receiving", SHIM_LOGIN, SHIM_RECEIVE, false, true, false},
};
#define PLANS (sizeof(plans) / sizeof(plans[0]))
#define OPS_MAX 64

struct row {
    char *before, *after;
    uint32_t calls[PLANS];
    int trials, failed;
    char why[512];
};

struct nth {
    struct trial_agent agent;
    struct shim_page *page;
    const char *url, *password;
    long number;
    struct row row[OPS_MAX];
    struct trial trial; /* prepared, and nothing done yet */
    bool prepared;
    long trials, restarts;
};

/* --- Arming
 * ------------------------------------------------------------------------------------- */

static void arm(struct nth *x, const struct plan *p, uint32_t nth)
{
    struct shim_slot *s = &x->page->slot[p->in];
    s->kind = 0;
    for (size_t i = 0; i < SHIM_KINDS; i++)
        s->count[i] = 0;
    s->hits = 0;
    s->nth = nth;
    s->for_good = p->for_good;
    s->kind = p->kind;
}

static void disarm(struct nth *x, const struct plan *p)
{
    x->page->slot[p->in].kind = 0;
}

/* --- The agent
 * ---------------------------------------------------------------------------------- */

static bool restart(struct nth *x)
{
    x->restarts++;
    x->prepared = false;
    trial_stop(&x->agent, SIGKILL);
    return trial_start(&x->agent);
}

/* A write that found no room makes the agent refuse others until it has looked again. */
static void wait_for_room(struct nth *x)
{
    int64_t until = trial_now_ms() + ROOM_MS;
    while (trial_ask(&x->agent, x->agent.token, "GET", "sys/mounts", NULL, ANSWER_MS, NULL) ==
               500 &&
           trial_now_ms() < until)
        trial_sleep_ms(5);
}

/* After a trial: it runs, with its connector; *died says that it had not. */
static bool bring_up(struct nth *x, bool *died)
{
    json_t *answer = NULL;
    int status = 0;
    *died = trial_ended(&x->agent, &status);
    if (*died) {
        trial_note("the agent ended (status 0x%x)", (unsigned)status);
        return restart(x);
    }
    int code = trial_ask(&x->agent, NULL, "GET", "sys/status", NULL, ANSWER_MS, &answer);
    const char *connector = json_string_value(trial_member(answer, "data.connector"));
    bool sealed = json_is_true(trial_member(answer, "data.sealed"));
    bool up = code == 200 && connector && strcmp(connector, "up") == 0;
    json_decref(answer);
    *died = code != 200;
    if (up && !sealed)
        wait_for_room(x);
    return (up && !sealed) || restart(x); /* dev mode has one connector, and it may have ended */
}

static bool prepare(struct nth *x, size_t op)
{
    if (x->prepared && x->trial.op == &trial_ops[op])
        return true;
    x->trial = (struct trial){.agent = &x->agent, .op = &trial_ops[op], .number = ++x->number};
    x->prepared = trial_prepare(&x->trial);
    if (x->prepared)
        free(trial_look(&x->trial));
    return x->prepared;
}

/* --- One trial
 * ---------------------------------------------------------------------------------- */

static void fail_trial(struct nth *x, size_t op, size_t plan, uint32_t nth, const char *why)
{
    struct row *r = &x->row[op];
    if (!r->failed++)
        snprintf(r->why, sizeof(r->why), "%s, call %u: %.400s", plans[plan].name, nth, why);
    trial_note("%s, %s, call %u: %s", trial_ops[op].name, plans[plan].name, nth, why);
}

/* Acts once with call nth failing. Returns how many calls failed; *state: 0 as before, 1 done, 2
 * bad. */
static uint32_t act_once(struct nth *x, size_t op, size_t plan, uint32_t nth, int *state)
{
    const struct plan *p = &plans[plan];
    struct row *row = &x->row[op];
    char why[900] = "";
    bool died = false;
    arm(x, p, nth);
    int64_t begin = trial_now_ms();
    int acknowledged = trial_act(&x->trial, ANSWER_MS);
    disarm(x, p);
    uint32_t hits = x->page->slot[p->in].hits;
    if (acknowledged < 0 && !x->trial.op->waits)
        snprintf(why, sizeof(why), "no answer within %lld ms", (long long)(trial_now_ms() - begin));
    struct trial t = x->trial; /* bring_up() may forget it */
    bool sealed_by_it = strcmp(t.op->name, "seal") == 0 && acknowledged == 1;
    char *now = sealed_by_it ? trial_look(&t) : NULL;
    if (!bring_up(x, &died))
        snprintf(why, sizeof(why), "the agent does not serve any more");
    else if (died)
        snprintf(why, sizeof(why), "the agent ended");
    now = now ? now : trial_look(&t);
    bool is_before = strcmp(now, row->before) == 0, is_after = strcmp(now, row->after) == 0;
    *state = is_after && !is_before ? 1 : 0;
    if (!*why && acknowledged == 1 && !is_after && !(t.op->shifts && x->prepared == false))
        snprintf(why, sizeof(why), "it was acknowledged, and is not so: %.300s instead of %.300s",
                 now, row->after);
    else if (!*why && !is_before && !is_after)
        snprintf(why, sizeof(why), "half of it: %.250s, neither %.250s nor %.250s", now,
                 row->before, row->after);
    if (*why) {
        fail_trial(x, op, plan, nth, why);
        *state = 2;
    }
    if (getenv("TRIAL_TELL"))
        trial_note("%s, %s, call %u: %u failed, %s, %s, %lld ms", t.op->name, p->name, nth, hits,
                   acknowledged == 1 ? "acknowledged" : "not acknowledged", now,
                   (long long)(trial_now_ms() - begin));
    if (acknowledged == 1 || *state != 0)
        x->prepared = false;
    free(now);
    return hits;
}

/* Whether blocks are lost each time: when one trial leaves more behind, it is repeated. */
static void check_leak(struct nth *x, size_t op, size_t plan, uint32_t nth, int64_t grown)
{
    const struct shim_slot *s = &x->page->slot[SHIM_AGENT];
    int64_t least = grown;
    int state;
    for (int i = 0; i < LEAK_TRIES && least > 0; i++) {
        if (!x->prepared)
            return; /* it went through, or the agent is another: what grew may be what it made */
        int64_t was = s->live;
        act_once(x, op, plan, nth, &state);
        trial_sleep_ms(3);
        if (s->live - was < least)
            least = s->live - was;
    }
    char why[100];
    snprintf(why, sizeof(why), "it loses %lld blocks of memory each time", (long long)least);
    if (least > 0 && x->prepared)
        fail_trial(x, op, plan, nth, why);
}

static uint32_t run_trial(struct nth *x, size_t op, size_t plan, uint32_t nth)
{
    const struct shim_slot *s = &x->page->slot[SHIM_AGENT];
    int state = 0;
    if (getenv("TRIAL_FRESH"))
        (void)restart(x);
    if (!prepare(x, op)) {
        fail_trial(x, op, plan, nth, "it can't be prepared any more");
        (void)restart(x);
        return 0;
    }
    long restarts = x->restarts;
    int64_t was = s->live;
    uint32_t hits = act_once(x, op, plan, nth, &state);
    x->row[op].trials += hits > 0;
    x->trials += hits > 0;
    if (hits && state == 0 && x->prepared && restarts == x->restarts && s->live > was &&
        !plans[plan].for_good && plans[plan].in == SHIM_AGENT && !trial_ops[op].database)
        check_leak(x, op, plan, nth, s->live - was);
    return hits;
}

/* --- The order
 * ----------------------------------------------------------------------------------- */

static bool op_wanted(const struct nth *x, size_t op)
{
    const char *only = getenv("TRIAL_ONLY");
    return (x->url || !trial_ops[op].database) && (!only || strstr(trial_ops[op].name, only));
}

static bool fits(const struct nth *x, size_t op, size_t plan)
{
    const struct trial_op *o = &trial_ops[op];
    const struct plan *p = &plans[plan];
    const char *kind = getenv("TRIAL_KIND");
    bool login = o->kind == TRIAL_LOGIN || o->kind == TRIAL_SESSION;
    return op_wanted(x, op) && (!kind || strstr(p->name, kind)) && (!p->logins || login) &&
           (!p->database || o->database);
}

/* One undisturbed run, which counts the calls. */
static bool record(struct nth *x, size_t op)
{
    struct row *row = &x->row[op];
    bool died;
    if (!prepare(x, op))
        return false;
    row->before = trial_look(&x->trial);
    for (size_t i = 0; i < SHIM_PROGRAMS; i++)
        arm(x, &(struct plan){.in = (enum shim_program)i, .kind = SHIM_ALL}, 0);
    int r = trial_act(&x->trial, ANSWER_MS);
    trial_sleep_ms(trial_ops[op].kind == TRIAL_HANGUP ? 30 : 5);
    for (size_t p = 0; p < PLANS; p++)
        row->calls[p] = x->page->slot[plans[p].in].count[__builtin_ctz(plans[p].kind)];
    for (size_t i = 0; i < SHIM_PROGRAMS; i++)
        x->page->slot[i].kind = 0;
    row->after = trial_look(&x->trial);
    x->prepared = false;
    return (r == 1 || trial_ops[op].kind == TRIAL_HANGUP) && bring_up(x, &died);
}

static long all_calls(const struct nth *x)
{
    long n = 0;
    for (size_t op = 0; op < trial_n_ops; op++)
        for (size_t p = 0; p < PLANS; p++)
            n += fits(x, op, p) ? (long)x->row[op].calls[p] : 0;
    return n;
}

static void run_every(struct nth *x)
{
    uint32_t first = (uint32_t)trial_number("TRIAL_FROM", 1);
    for (size_t op = 0; op < trial_n_ops; op++) {
        for (size_t p = 0; p < PLANS; p++)
            for (uint32_t n = first; fits(x, op, p) && n <= x->row[op].calls[p]; n++)
                run_trial(x, op, p, n);
        trial_note("%s: %d failures", trial_ops[op].name, x->row[op].trials);
    }
}

/* A few random calls of each operation in turn, until the time is over. */
static void run_sample(struct nth *x, int64_t until)
{
    for (size_t op = 0; trial_now_ms() < until; op = (op + 1) % trial_n_ops) {
        int missed = 0;
        for (int done = 0; done < SAMPLE && missed < 100 && trial_now_ms() < until;) {
            size_t p = (size_t)random() % PLANS;
            uint32_t calls = fits(x, op, p) ? x->row[op].calls[p] : 0;
            done += calls > 0;
            missed += calls == 0;
            if (calls)
                run_trial(x, op, p, 1 + (uint32_t)random() % calls);
        }
    }
}

static void run_all(struct nth *x)
{
    long seconds = trial_number("TRIAL_SECONDS", 0);
    int64_t begin = trial_now_ms();
    if (seconds)
        run_sample(x, begin + seconds * 1000);
    else
        run_every(x);
    trial_note("%ld failures of %ld calls, in %lld ms; the agent was started again %ld times",
               x->trials, all_calls(x), (long long)(trial_now_ms() - begin), x->restarts);
}

/* --- All of it
 * ----------------------------------------------------------------------------------- */

static bool set_up(struct nth *x, int argc, char **argv)
{
    static char shim[PATH_MAX];
    char path[PATH_MAX], folder[PATH_MAX];
    snprintf(x->agent.build, sizeof(x->agent.build), "%s", argv[1]);
    snprintf(x->agent.dir, sizeof(x->agent.dir), "%s/cs", argv[2]);
    snprintf(path, sizeof(path), "%s/nth", argv[2]);
    snprintf(shim, sizeof(shim), "%s/trial-shim.so", argv[1]);
    snprintf(folder, sizeof(folder), "mkdir -p %s.pam.d", x->agent.dir);
    x->agent.preload = shim;
    x->url = argc > 4 ? argv[3] : NULL;
    x->password = argc > 4 ? argv[4] : NULL;
    srandom((unsigned)trial_number("TRIAL_SEED", time(NULL)));
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(*x->page)) < 0)
        return false;
    x->page = mmap(NULL, sizeof(*x->page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    setenv("COUNTERSIGN_NTH", path, 1);
    return x->page != MAP_FAILED && system(folder) == 0 && trial_start(&x->agent) &&
           trial_furnish(&x->agent, x->url, x->password);
}

static void report(const struct nth *x)
{
    for (size_t i = 0; i < trial_n_ops; i++) {
        if (x->row[i].before && trial_ops[i].kind != TRIAL_HANGUP)
            trial_ok(x->row[i].trials > 0 && !x->row[i].failed, "%s: %d failures%s%s",
                     trial_ops[i].name, x->row[i].trials, x->row[i].failed ? ", " : "",
                     x->row[i].why);
    }
}

int main(int argc, char **argv)
{
    static struct nth x;
    int r = trial_pam_main(argc, argv);
    if (r >= 0)
        return r;
    if (argc < 3)
        return 2;
    bool ok = set_up(&x, argc, argv);
    trial_ok(ok, "the agent starts and is furnished");
    for (size_t i = 0; ok && i < trial_n_ops; i++) {
        ok = !op_wanted(&x, i) || record(&x, i);
        if (!ok)
            trial_note("%s: undisturbed, it fails", trial_ops[i].name);
    }
    trial_ok(ok, "each operation is done undisturbed");
    if (ok) {
        run_all(&x);
        report(&x);
        trial_ok(trial_ask(&x.agent, x.agent.token, "GET", "secret/data/k0", NULL, ANSWER_MS,
                           NULL) == 200,
                 "what was written in the beginning is there");
    }
    trial_stop(&x.agent, SIGTERM);
    return trial_finish();
}
