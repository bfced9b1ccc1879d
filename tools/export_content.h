/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The content of an exported file as it arrives.  It is written to a new file;
 * or compared with an existing file, and written only when the two differ.
 */
#ifndef COPPICE_EXPORT_CONTENT_H
#define COPPICE_EXPORT_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct export_content {
	int dir;          /* the caller's */
	const char *name; /* of the new file; the caller's */
	int fd;           /* the new file; -1: none */
	int old;          /* the file to compare with; -1: none */
	bool dry_run;     /* make no new file */
	bool differs;     /* from the old one, as far as was read */
	uint64_t at;      /* least offset of the next data */
	uint64_t written; /* bytes */
};

/* Begin to write a new file, accessible only to its owner. */
int export_content_create(struct export_content *c, int dir, const char *name);
/*
 * Begin to compare with an open file.  Takes the ownership of `old`.  At the
 * first difference, the new file is made, and gets the equal part before it.
 */
void export_content_compare(struct export_content *c, int dir, const char *name,
                            int old, bool dry_run);
/*
 * Take data at an offset; the range from the end of the data before is a hole.
 * -EPROTO: the data overlap.
 */
int export_content_write(struct export_content *c, uint64_t at,
                         const uint8_t *data, size_t len);
/* End the content, and set the size of the new file. */
int export_content_end(struct export_content *c, uint64_t size);
/* Make the new file, unless it exists, with the part that was equal. */
int export_content_copy(struct export_content *c);
/* Close both files. */
void export_content_close(struct export_content *c);

#endif
