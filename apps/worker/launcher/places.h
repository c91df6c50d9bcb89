#ifndef LABHAND_PLACES_H
#define LABHAND_PLACES_H

#include <stdbool.h>
#include <stddef.h>

/* What groups limit and measure. Version 1 of control groups may keep each in a file system of its own. */
enum controller { MEMORY, CPU, CPU_TIME, PROCESSES, IO, FREEZER, CONTROLLERS };

/* Where this machine lets us make control groups. */
struct places {
    int version; /* 1 or 2; 0: nowhere */
    int error;   /* why nowhere */
    char *base[CONTROLLERS]; /* NULL: not here. With version 2 all are the same folder. */
};

/* prepared: a folder that was made for us (with version 1, one for each controller in it), or NULL for our own group. */
void find_places(struct places *places, const char *prepared);

/* Whether the base of this controller is that of an earlier one too. */
bool is_repeated(char *const base[CONTROLLERS], enum controller controller);

/* A small file of the kernel's, as text. False: errno tells. */
bool read_text(const char *folder, const char *file, char *text, size_t size);
bool write_text(const char *folder, const char *file, const char *text);

/* Whether a word is in a list that commas, spaces or line ends separate. */
bool has_word(const char *list, const char *word);

#endif
