/* One run: from the command line to an exit code. */
#ifndef COUNTERSIGN_CLI_RUN_H
#define COUNTERSIGN_CLI_RUN_H

/* Does what argv says. Returns the exit code; standard output is flushed. The process must have
 * called json_init() (and, outside of tests, mem_harden_process()) before. */
int run_main(int argc, char **argv);

#endif
