/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The regular files of an export's target. */
#ifndef COPPICE_EXPORT_FILE_H
#define COPPICE_EXPORT_FILE_H

#include "export_making.h"

/* Decide whether m->name needs its content, and add that to the answer. */
int export_file_ask(struct making *m, const struct made_dir *dir,
                    const struct export_attr *attr);
/* Send the answer. */
int export_file_answer(struct making *m);
/* Take a FILE: begin the content of m->name. */
int export_file_begin(struct making *m, const struct made_dir *dir,
                      const struct export_attr *attr);
/* Take a DATA. */
int export_file_data(struct making *m, struct reader *r);
/* Take an END. */
int export_file_end(struct making *m, struct reader *r);
/* Discard the incomplete file, if there is one. */
void export_file_cancel(struct making *m);

#endif
