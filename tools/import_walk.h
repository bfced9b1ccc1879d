/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The walk through the source of an import, for import_*.c alone. */
#ifndef COPPICE_IMPORT_WALK_H
#define COPPICE_IMPORT_WALK_H

#include <sys/stat.h>

#include "import_source.h"

/* A directory of the source that was begun and has not ended. */
struct source_dir {
	int fd;
	uint64_t number;
	dev_t dev;
	unsigned refs; /* of frames to be answered, and the walk's own */
	bool fresh;    /* the state has nothing in it */
	bool partial;  /* not all of it could be read */
	char *path;    /* below the top, with a slash before each name */
};

/* An entry of a frame to be answered. */
struct source_entry {
	struct import_attr attr;
	uint32_t name; /* offset */
};

/* A frame of entries that is being made or is to be answered. */
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
	/* numbers of directories that are free again */
	uint64_t *numbers;
	size_t numbers_len, numbers_room;
	uint64_t numbers_end;        /* the first that was never used */
	struct source_frame *frames; /* a ring of IMPORT_WINDOW + 1 */
	size_t first, waiting;       /* of those to be answered */
	void *links;     /* tree of inodes with several names that were sent */
	uint8_t *xattrs; /* IMPORT_XATTRS_MAX bytes, encoded */
	size_t xattrs_len;
};

/* Report a file that is not imported as it is. */
void source_complain(struct import_source *s, const struct source_dir *dir,
                     const char *name, const char *what);
struct import_attr source_attr(const struct stat *st);
/*
 * Read the xattrs of an open file, or with a name, of that entry of an open
 * directory, to s->xattrs.
 */
int source_xattrs(struct import_source *s, int fd, const char *name);
/* Send an entry that is no directory. */
int source_send(struct import_source *s, struct source_dir *dir,
                const char *name, const struct import_attr *attr,
                enum import_verdict verdict);
/* Open for reading without changing the atime, where that is allowed. */
int source_open(int dir, const char *name, int flags);

#endif
