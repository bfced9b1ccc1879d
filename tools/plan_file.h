/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Plans of joins in files, as join_review.h describes them: one JSON object; or
 * as lines: the object without its rows, then one row a line.
 */
#ifndef COPPICE_PLAN_FILE_H
#define COPPICE_PLAN_FILE_H

#include <jansson.h>
#include <stdbool.h>

/* Print a plan and its rows. */
void plan_print(json_t *plan, json_t *rows, bool lines);
/*
 * Read a plan from a file; "-": from standard input.  Complain about errors,
 * and return an exit code.
 */
int plan_read(const char *file, json_t **ret_plan);

#endif
