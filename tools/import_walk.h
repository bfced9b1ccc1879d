/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Walking the source of an import: declarations for import_*.c. */
#ifndef COPPICE_IMPORT_WALK_H
#define COPPICE_IMPORT_WALK_H

#include <sys/stat.h>

#include "import_source.h"

/* A directory of the source that was begun and has not ended. */
struct source_dir {
	int fd;
	uint64_t number;
	dev_t dev;
	unsigned refs; /* of unanswered frames and of the walk */
	bool fresh;    /* the state has nothing in it */
	bool partial;  /* not all of it could be read */
	char *path;    /* below the top, with a slash before each name */
};

/* An entry of a struct source_frame. */
struct source_entry {
	struct import_attr attr;
	uint32_t name; /* offset in `names`, in bytes */
};

/* A frame of ENTRIES that is being filled, or is not answered yet. */
struct source_frame {
	struct source_dir *dir;
	size_t len;
	struct source_entry entries[IMPORT_ENTRIES_MAX];
	char names[IMPORT_ENTRIES_MAX * (NAME_LEN_MAX + 1)];
	size_t names_len;
};

struct import_source {
	const struct import_options *options;
	struct import_progress *progress;
	struct import_stream stream;
	uint32_t chunk_size;
	dev_t dev; /* of the top */
	/* numbers of directories that can be reused */
	uint64_t *numbers;
	size_t numbers_len, numbers_room;
	uint64_t numbers_end;        /* the first number never used */
	struct source_frame *frames; /* a ring of IMPORT_WINDOW + 1 */
	size_t first, waiting;       /* index and number of unanswered frames */
	void *links;     /* tree of sent inodes with several names */
	uint8_t *xattrs; /* IMPORT_XATTRS_MAX bytes, encoded */
	size_t xattrs_len;
};

/* Report and count a file that is not imported, or not as it is. */
void source_complain(struct import_source *s, const struct source_dir *dir,
                     const char *name, const char *what);
struct import_attr source_attr(const struct stat *st);
/*
 * Read xattrs into s->xattrs: of an open file or, with a name, of that entry of
 * the open directory.
 */
int source_xattrs(struct import_source *s, int fd, const char *name);
/* Send an entry that is not a directory. */
int source_send(struct import_source *s, struct source_dir *dir,
                const char *name, const struct import_attr *attr,
                enum import_verdict verdict);
/* Open for reading, with O_NOATIME if allowed.  A descriptor or an errno. */
int source_open(int dir, const char *name, int flags);

#endif
