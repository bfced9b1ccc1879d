/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The regular files of an export's target. */
#ifndef COPPICE_EXPORT_FILE_H
#define COPPICE_EXPORT_FILE_H

#include "export_making.h"

/* Judge whether m->name needs its content, for the next answer. */
int export_file_ask(struct making *m, const struct made_dir *dir,
                    const struct export_attr *attr);
/* Send the answer. */
int export_file_answer(struct making *m);
/* Begin to take the content of m->name. */
int export_file_begin(struct making *m, const struct made_dir *dir,
                      const struct export_attr *attr);
/* Take a DATA. */
int export_file_data(struct making *m, struct reader *r);
/* Take an END. */
int export_file_end(struct making *m, struct reader *r);
/* Give up the file that is not complete. */
void export_file_cancel(struct making *m);

#endif
