/* The screen of `countersign top`: drawing and keys. All of ncurses is behind this. */
#ifndef COUNTERSIGN_CLI_TOPSCREEN_H
#define COUNTERSIGN_CLI_TOPSCREEN_H

#include "cli/topdata.h"

enum topscreen_key {
    TOPSCREEN_NONE = 0, /* the time is over, or the window changed */
    /* characters stand for themselves */
    TOPSCREEN_UP = 1000,
    TOPSCREEN_DOWN,
    TOPSCREEN_PAGE_UP,
    TOPSCREEN_PAGE_DOWN,
    TOPSCREEN_HOME,
    TOPSCREEN_END,
    TOPSCREEN_NEXT,
    TOPSCREEN_PREVIOUS,
    TOPSCREEN_ENTER,
    TOPSCREEN_ESCAPE,
    TOPSCREEN_ERASE,
};

struct topscreen_pane {
    const json_t **rows;
    size_t n, selected, first; /* first: the topmost on the screen */
    struct topdata_view view;
};

struct topscreen {
    const struct topdata *data;
    const char *address;
    struct topscreen_pane pane[TOPDATA_PANES];
    enum topdata_pane focus;
    char line[512]; /* the last line: a question, an answer; "": which keys there are */
    bool asking;    /* line is a question */
    bool help;
};

/* Takes the terminal over. 0, or -ENOTTY when it is none that can be drawn on. It is given back by
 * topscreen_close(), and by the end of the process however that comes about, signals included that
 * end one. */
int topscreen_open(void);
void topscreen_close(void);
/* Whether a signal asks to end. */
bool topscreen_stopped(void);
/* Draws all; keeps each pane's selection on the screen. */
void topscreen_draw(struct topscreen *s);
/* Waits for a key at most ms milliseconds. */
int topscreen_key(int ms);

#endif
