/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The file of the intent log.  Inside store/ only. */
#ifndef COPPICE_INTENT_FILE_H
#define COPPICE_INTENT_FILE_H

#include <stddef.h>
#include <stdint.h>

#define INTENT_FILE "log"

/* An entry in memory. */
struct intent_entry {
	uint8_t *bytes; /* INTENT_ENTRY_MAX of them */
	size_t len;     /* a multiple of INTENT_ALIGN; 0: none */
	uint64_t at;    /* its offset in the file */
};

/*
 * Make the file, with halves of `half` bytes, in a directory that was opened
 * with O_PATH.  -ENOSPC: it would take too much of the free space.
 */
int intent_file_create(int dir, uint64_t half, int *ret_fd);
/*
 * Extend a file whose halves have `from` bytes, so that it has space for larger
 * ones.  Its content stays.  Errors as of intent_file_create().
 */
int intent_file_grow(int fd, uint64_t from, uint64_t half);
/* Write an entry, if it is not empty, without a sync. */
int intent_file_write(int fd, const struct intent_entry *entry);
/* Start to write an entry to the disk.  Only fdatasync() makes it durable. */
void intent_file_begin_sync(int fd, const struct intent_entry *entry);

#endif
