/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The stored chunks that a group replaces, near the one that is being written:
 * the content of a rewritten file before.  After an insertion the bytes of a
 * new chunk are those of two of them, or lie in one farther away.
 *
 * Chunks are in the order of their numbers, which is mostly that of a file.
 * Each one is read once while the window slides over it, and the places of its
 * anchors are noted: places chosen by the 64 bytes before them, so that they
 * are the same ones wherever these bytes are found.  Inside store/ only.
 */
#ifndef COPPICE_REPLACED_H
#define COPPICE_REPLACED_H

#include "chunk_codec.h"
#include "write.h"

/* A stored chunk that one of the group replaces. */
struct replaced {
	uint64_t name;   /* the number that is replaced; 0: none */
	uint64_t number; /* that its content is stored under; 0: none to read */
	struct chunk_header header;
};

/* Find what the chunk replaces, if anything, without reading all of it. */
int replaced_get(struct writing *w, const struct chunk *chunk,
                 struct replaced *ret);

/* A chunk in the window. */
struct window_chunk {
	size_t at; /* index among the chunks of the group, + 1; 0: none */
	uint32_t generation;
	struct replaced replaced;
	struct chunk *content;       /* NULL: none that can be read */
	struct splice *splice;       /* its pieces if it is one, else NULL */
	uint8_t costs[SPLICE_BASES]; /* splice_base_cost() of its bases */
};

/* Bytes of a new chunk that are found in a replaced one. */
struct match {
	uint32_t to, len;
	const struct window_chunk *chunk;
	uint32_t from;
};

enum { WINDOW_REACH = 32 };

struct window;
int window_create(struct window **ret_window);
void window_destroy(struct window *window);
/*
 * Slide the window to what the chunks of the group around w->at replace, at
 * most `reach` of them, and WINDOW_REACH, on either side.
 */
int window_move(struct window *window, struct writing *w, size_t reach);
/*
 * Find bytes of the chunk in the window.  Return the number of matches, at most
 * `most`; they are in order and do not overlap.  They are valid until the next
 * window_move().
 */
unsigned window_match(struct window *window, const struct chunk *chunk,
                      struct match *ret_matches, unsigned most);

#endif
