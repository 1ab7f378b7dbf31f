/* countersign: the command line of the Countersign agent. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/run.h"

int main(int argc, char **argv)
{
    int r = mem_harden_process();

    if (r < 0) {
        fprintf(stderr, "Error: this process could not be closed to others: %s\n", strerror(-r));
        return EXIT_CODE_LOCAL;
    }
    json_init();
    return run_main(argc, argv);
}
