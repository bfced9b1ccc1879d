/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A unified diff of the files in the rows of `diff`, made by diff(1) from the
 * content rows that follow them.
 */
#ifndef COPPICE_PATCH_H
#define COPPICE_PATCH_H

#include <jansson.h>
#include <stdio.h>

/* All zero at first. */
struct patch {
	json_t *row;    /* the name whose content is arriving; NULL: none */
	FILE *sides[2]; /* the contents so far; NULL: nothing */
};

/*
 * Take the next row, of a name or of content.  A row of a name first prints the
 * diff of the name before.  Return 0 or a negative errno, mostly after a
 * message.
 */
int patch_row(struct patch *patch, json_t *row);
/* Print the diff of the last name. */
int patch_end(struct patch *patch);
void patch_release(struct patch *patch);

#endif
