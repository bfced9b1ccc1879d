/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Plans of joins in files, as join_review.h describes them: one JSON object, or
 * as lines the object without its rows and then a row each.
 */
#ifndef COPPICE_PLAN_FILE_H
#define COPPICE_PLAN_FILE_H

#include <jansson.h>
#include <stdbool.h>

/* Print a plan and its rows. */
void plan_print(json_t *plan, json_t *rows, bool lines);
/*
 * Read a plan from a file, or from standard input if it is "-".  Return an exit
 * code; it has complained then.
 */
int plan_read(const char *file, json_t **ret_plan);

#endif
