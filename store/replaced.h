/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The window: the stored chunks that the chunk being written and its neighbours
 * in the group replace, that is, the former content of a rewritten file.  After
 * an insertion, the bytes of a new chunk are in two of them, or in one farther
 * away.
 *
 * Chunks are in the order of their numbers, which is mostly that of a file.
 * Each replaced chunk is read once while the window slides over it, and indexed
 * by its anchors.  An anchor is a place chosen by the 64 bytes before it, so
 * that equal bytes have the same anchors wherever they are.  Inside store/
 * only.
 */
#ifndef COPPICE_REPLACED_H
#define COPPICE_REPLACED_H

#include "chunk_codec.h"
#include "write.h"

/* A stored chunk that one of the group replaces. */
struct replaced {
	uint64_t name;   /* the number that is replaced; 0: none */
	uint64_t number; /* stores the content; 0: it cannot be read */
	struct chunk_header header;
};

/* Find the stored chunk that `chunk` replaces, if any, and read its header. */
int replaced_get(struct writing *w, const struct chunk *chunk,
                 struct replaced *ret);

/* A chunk in the window. */
struct window_chunk {
	size_t at; /* index among the chunks of the group, + 1; 0: none */
	uint32_t generation;
	struct replaced replaced;
	struct chunk *content;       /* NULL: none, or unreadable */
	struct splice *splice;       /* its pieces if it is a splice, or NULL */
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
 * Slide the window to the chunks that the group's chunk w->at and up to `reach`
 * (at most WINDOW_REACH) chunks on either side replace.
 */
int window_move(struct window *window, struct writing *w, size_t reach);
/*
 * Find bytes of the chunk in the window.  Return the number of matches, at most
 * `most`.  They are in order, do not overlap, and are valid until the next
 * window_move().
 */
unsigned window_match(struct window *window, const struct chunk *chunk,
                      struct match *ret_matches, unsigned most);

#endif
