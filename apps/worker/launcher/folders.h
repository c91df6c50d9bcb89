#ifndef LABHAND_FOLDERS_H
#define LABHAND_FOLDERS_H

#include "places.h"

#include <stdbool.h>

/*
 * The launcher's own folder in each tree of control groups, for the groups of its jobs. It is locked while the launcher
 * or the supervisor of a job lives, so that the next launcher knows what was left behind.
 */

/* At the start: finds out where they can be, and removes what killed launchers left there. given: see find_places. */
void find_folders(const char *given);
/* Makes them, at the first call. */
void prepare_folders(void);
void remove_folders(void);

/* NULL: there is none, because of why_no_folder(). */
const char *folder_for(enum controller controller);
int why_no_folder(void);
/* Of control groups: 1, 2 or 0 for none. */
int folders_version(void);

/* To be freed; NULL: too long. */
char *path_in(const char *folder, const char *name);
/* KILL to all members of a group, frozen or not. */
void kill_all_in(const char *group);
/* Removes a group that is empty or is about to be. */
void remove_empty(const char *group);

#endif
