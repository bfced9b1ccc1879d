/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The content of an exported file as it arrives.  It is written to a new file;
 * or compared with that of a file, and written only when the two differ.
 */
#ifndef COPPICE_EXPORT_CONTENT_H
#define COPPICE_EXPORT_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct export_content {
	int dir;          /* the caller's */
	const char *name; /* of the new file; the caller's */
	int fd;           /* the new file; -1: there is none */
	int old;          /* the file that is compared; -1: none */
	bool dry_run;     /* make no new file */
	bool differs;     /* from the old one, as far as was read */
	uint64_t at;      /* offset: where the next data can begin */
	uint64_t written; /* bytes */
};

/* Begin to write a new file, which is accessible to its owner alone. */
int export_content_create(struct export_content *c, int dir, const char *name);
/*
 * Begin to compare with an open file, which becomes the content's.  If a
 * difference comes, the new file is made, and gets what was equal.
 */
void export_content_compare(struct export_content *c, int dir, const char *name,
                            int old, bool dry_run);
/* Take data at an offset; there is a hole before them. */
int export_content_write(struct export_content *c, uint64_t at,
                         const uint8_t *data, size_t len);
/* End with the size. */
int export_content_end(struct export_content *c, uint64_t size);
/* Make a new file, if there is none, with what was equal. */
int export_content_copy(struct export_content *c);
/* Close both files. */
void export_content_close(struct export_content *c);

#endif
