/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The bytes that an import consists of: frames, which the process that reads
 * the source sends over a stream socket to the one that has the store open, and
 * answers.  Both may be the same process.
 *
 * A frame is u32 length, u8 kind, and so many bytes.  Numbers in it are
 * varints, strings have their length before them:
 *
 *   DIR      dir, parent, name, attr, xattrs    begin a directory
 *   ENTRIES  dir, then name, attr ...           files that may be unchanged
 *   FILE     dir, name, flags, attr, xattrs, rest: content
 *                                               a file, which replaces another
 *   DATA     index, rest: content               a chunk of the last FILE
 *   END      flags, size                        end of a FILE with IMPORT_MORE
 *   LINK     dir, name, attr                    a name of a file sent before
 *   KEEP     dir, name                          leave what has this name
 *   DONE     dir, flags                         end a directory
 *   COMMIT                                      end of the import
 *
 * Nothing but DATA comes between a FILE with IMPORT_MORE and its END.
 *
 * `dir` is a number that the sender chooses, and may use again after DONE; the
 * top is directory 0, has itself as parent and no name.  The first DIR is
 * answered by u32 bytes of a chunk and u8 flags (IMPORT_FRESH), ENTRIES by u8
 * flags of the directory and u8 enum import_verdict for each entry.  The sender
 * lets IMPORT_WINDOW of them be unanswered at most: then neither end waits for
 * the other to read.
 */
#ifndef COPPICE_IMPORT_CODE_H
#define COPPICE_IMPORT_CODE_H

#include "../snapshot/snapshot.h"

enum import_kind {
	IMPORT_DIR = 1,
	IMPORT_ENTRIES,
	IMPORT_FILE,
	IMPORT_DATA,
	IMPORT_END,
	IMPORT_LINK,
	IMPORT_KEEP,
	IMPORT_DONE,
	IMPORT_COMMIT,
};

enum {
	IMPORT_HEAD = 5,             /* bytes before a frame's */
	IMPORT_FRAME_MAX = 4 << 20,  /* bytes of a frame */
	IMPORT_XATTRS_MAX = 2 << 20, /* bytes of the xattrs in it */
	IMPORT_ENTRIES_MAX = 128,    /* in a frame */
	IMPORT_WINDOW = 16,          /* frames to be answered */
	IMPORT_DIRS_MAX = 1 << 16,   /* numbers of directories */
	IMPORT_HELLO_LEN = 5,        /* bytes of the first answer */
};

enum import_flags {
	/* of FILE */
	IMPORT_MORE = 1, /* DATA and END follow */
	IMPORT_META = 2, /* without content: the store's stays */
	/* of END */
	IMPORT_FAILED = 1, /* the content could not be read: undo the FILE */
	/* of DONE */
	IMPORT_PARTIAL = 1, /* not all names were read: delete none */
	/* of answers */
	IMPORT_FRESH = 1, /* the directory was made by this import */
};

/* The receiver's answer about an entry. */
enum import_verdict {
	IMPORT_SAME,      /* there is nothing to do */
	IMPORT_WANT,      /* send it by FILE, or LINK */
	IMPORT_WANT_META, /* the same with IMPORT_META */
};

/* Attributes of a file in the source; nlink is the source's. */
struct import_attr {
	struct inode inode; /* without blocks, xattrs and btime */
	uint64_t dev, ino; /* if nlink is more than 1, of all but directories */
};

static inline bool import_is_linked(const struct import_attr *attr)
{
	return attr->inode.nlink > 1 && (attr->inode.mode & 0170000) != 0040000;
}

void import_attr_put(struct writer *w, const struct import_attr *attr);
/* Attributes that no inode has set r->bad. */
void import_attr_get(struct reader *r, struct import_attr *ret);

/* A string in the encoded bytes; not terminated. */
struct import_bytes {
	const uint8_t *data;
	size_t len;
};
void import_bytes_put(struct writer *w, const void *data, size_t len);
struct import_bytes import_bytes_get(struct reader *r);
/*
 * Read the name of an entry.  One that no directory of the source can have sets
 * r->bad.
 */
void import_name_get(struct reader *r, char ret_name[NAME_LEN_MAX + 1]);

#endif
