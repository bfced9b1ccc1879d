/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The directories of an export's target. */
#ifndef COPPICE_EXPORT_DIR_H
#define COPPICE_EXPORT_DIR_H

#include "export_making.h"

/* Take a DIR: open the directory, or make it, and add it to m->dirs. */
int export_dir_make(struct making *m, struct reader *r);
/*
 * Take a DONE: delete names that the state does not have, if requested, set the
 * attributes of the directory, and remove it from m->dirs.
 */
int export_dir_end(struct making *m, struct reader *r);
/* Note a name that the state has in the directory. */
int export_dir_note(struct making *m, struct made_dir *dir, const char *name);
/* Free the last directory of m->dirs. */
void export_dir_pop(struct making *m);

#endif
