/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The encoding of an import: the process that reads the source sends frames
 * over a stream socket to the process that has the store open, which answers
 * some of them.  Both may be the same process.
 *
 * A frame is u32 length, u8 kind, and `length` bytes.  Numbers in these are
 * varints; a string follows its length:
 *
 *   DIR      dir, parent, name, attr, xattrs    begin a directory
 *   ENTRIES  dir, then name, attr ...           files that may be unchanged
 *   FILE     dir, name, flags, attr, xattrs, rest: content
 *                                               a file, which replaces another
 *   DATA     chunk index, rest: content         a chunk of the last FILE
 *   END      flags, size                        end of a FILE with IMPORT_MORE
 *   LINK     dir, name, attr                    a name of a file sent before
 *   KEEP     dir, name                          do not delete this name
 *   DONE     dir, flags                         end a directory
 *   COMMIT                                      end of the import
 *
 * Only DATA may come between a FILE with IMPORT_MORE and its END.
 *
 * `dir` is a number that the sender chooses, and may use again after DONE.  The
 * top is directory 0; it is its own parent and has no name.  The answer to the
 * first DIR is u32 bytes of a chunk and u8 flags (IMPORT_FRESH); the answer to
 * ENTRIES is u8 flags of the directory and u8 enum import_verdict for each
 * entry.  At most IMPORT_WINDOW frames may be unanswered: then the socket's
 * buffers hold the answers, and neither end blocks the other.
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
	IMPORT_HEAD = 5,             /* bytes of a frame's length and kind */
	IMPORT_FRAME_MAX = 4 << 20,  /* most bytes of a frame, without them */
	IMPORT_XATTRS_MAX = 2 << 20, /* most bytes of the xattrs in a frame */
	IMPORT_ENTRIES_MAX = 128,    /* most entries of ENTRIES */
	IMPORT_WINDOW = 16,          /* most unanswered frames */
	IMPORT_DIRS_MAX = 1 << 16,   /* bound of directory numbers */
	IMPORT_HELLO_LEN = 5,        /* bytes of the first answer */
};

enum import_flags {
	/* of FILE */
	IMPORT_MORE = 1, /* DATA and END follow */
	IMPORT_META = 2, /* without content: keep that of the store */
	/* of END */
	IMPORT_FAILED = 1, /* the content could not be read: undo the FILE */
	/* of DONE */
	IMPORT_PARTIAL = 1, /* not all names could be read: delete none */
	/* of answers */
	IMPORT_FRESH = 1, /* the directory was made by this import */
};

/* The receiver's answer about an entry. */
enum import_verdict {
	IMPORT_SAME,      /* nothing more is needed */
	IMPORT_WANT,      /* send a FILE or LINK */
	IMPORT_WANT_META, /* send a FILE with IMPORT_META, or a LINK */
};

/* Attributes of a file in the source; nlink is the source's. */
struct import_attr {
	struct inode inode; /* without blocks, xattrs and btime */
	uint64_t dev, ino;  /* set if import_is_linked() */
};

static inline bool import_is_linked(const struct import_attr *attr)
{
	return attr->inode.nlink > 1 && (attr->inode.mode & 0170000) != 0040000;
}

void import_attr_put(struct writer *w, const struct import_attr *attr);
/* Decode attributes.  Values that no inode can have set r->bad. */
void import_attr_get(struct reader *r, struct import_attr *ret);

/* A string in the encoded bytes; not terminated. */
struct import_bytes {
	const uint8_t *data;
	size_t len;
};
void import_bytes_put(struct writer *w, const void *data, size_t len);
struct import_bytes import_bytes_get(struct reader *r);
/*
 * Decode the name of an entry.  A name that no directory can have sets r->bad.
 */
void import_name_get(struct reader *r, char ret_name[NAME_LEN_MAX + 1]);

#endif
