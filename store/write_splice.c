/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Making splices: matches in replaced chunks become pieces of the flat bytes
 * (splice.h) of a few bases that stay in the store.
 */
#include "write_splice.h"

#include <errno.h>

#include "free.h"
#include "replaced.h"

enum {
	MATCHES = 48,
	SOURCES = 32,       /* possible bases */
	SOURCE_LEAST = 512, /* bytes that a base must save */
	SHORT = 64, /* a form with 1 in this many bytes is short enough */
	/* After this many tries without a match, further ones are cheaper. */
	MISSES_FREE = 4,
	MISSES_STEP = 8,  /* only one chunk in this many is tried then, */
	MISSES_REACH = 1, /* with this many replaced ones on either side */
};

/* A chunk that pieces could be taken from. */
struct source {
	uint64_t number;
	uint32_t bytes; /* of the chunk that it has */
	uint8_t cost;   /* see splice_base_cost() */
	bool usable;    /* it has a lower number and stays in the store */
	uint8_t base;   /* counted from 1; 0: not taken */
};

/* A splice being made; its pieces name sources, counted from 1. */
struct plan {
	struct writing *w;
	const struct chunk *chunk;
	unsigned sources_len;
	struct source sources[SOURCES];
	struct splice splice;
};

/* Return the source, counted from 1; 0: there are too many. */
static uint32_t source_find(struct plan *plan, uint64_t number, uint8_t cost,
                            bool stays)
{
	struct source *source;

	for (uint32_t i = 0; i < plan->sources_len; i++)
		if (plan->sources[i].number == number)
			return i + 1;
	if (plan->sources_len == SOURCES)
		return 0;
	source = &plan->sources[plan->sources_len++];
	*source = (struct source){
	        .number = number,
	        .cost = cost,
	        .usable = number < plan->chunk->block.number &&
	                  (stays || block_is_counted(plan->w, number)),
	};
	return plan->sources_len;
}

/* Add a piece to the splice, or its bytes to the piece before. */
static void piece_add(struct splice *splice, uint32_t base, uint32_t from,
                      uint32_t len)
{
	struct splice_piece *last = NULL;

	if (!len)
		return;
	if (splice->count)
		last = &splice->pieces[splice->count - 1];
	if (last && last->base == base &&
	    (!base || last->from + last->len == from)) {
		last->len += len;
		return;
	}
	if (splice->count < SPLICE_PIECES) {
		splice->pieces[splice->count++] =
		        (struct splice_piece){base, from, len};
		return;
	}
	/* Too many pieces: make the last one and all that follows own bytes. */
	last->base = 0;
	last->len += len;
}

static void plan_piece(struct plan *plan, uint64_t number, uint8_t cost,
                       bool stays, uint32_t from, uint32_t len)
{
	uint32_t source = source_find(plan, number, cost, stays);

	if (source && !plan->sources[source - 1].usable)
		source = 0;
	if (source)
		plan->sources[source - 1].bytes += len;
	piece_add(&plan->splice, source, from, len);
}

/* Add a match in a chunk that is a splice, piece by piece. */
static void plan_pieces(struct plan *plan, const struct match *m, bool stays)
{
	const struct window_chunk *c = m->chunk;
	uint32_t at = 0, end = m->from + m->len;

	for (unsigned i = 0; i < c->splice->count && at < end; i++) {
		const struct splice_piece *piece = &c->splice->pieces[i];
		uint32_t first = MAX(at, m->from);
		uint32_t last = MIN(at + piece->len, end);
		unsigned b = piece->base;

		if (first < last)
			plan_piece(plan,
			           b ? c->replaced.header.bases[b - 1]
			             : c->replaced.number,
			           b ? c->costs[b - 1] : 1, stays,
			           piece->from + first - at, last - first);
		at += piece->len;
	}
}

static void plan_match(struct plan *plan, const struct match *m)
{
	const struct replaced *old = &m->chunk->replaced;
	bool stays = !writing_freed(plan->w, old->name);

	if (m->chunk->splice)
		plan_pieces(plan, m, stays);
	else
		plan_piece(plan, old->number,
		           (uint8_t)splice_base_cost(&old->header), stays,
		           m->from, m->len);
}

/*
 * Choose the bases among the sources: those with the most bytes, as long as
 * they need no more reads than a chain of deltas may.
 */
static void bases_choose(struct plan *plan, struct form *form)
{
	unsigned most = (unsigned)plan->w->store->options.delta_depth;

	form->base_count = form->depth = 0;
	while (form->base_count < SPLICE_BASES) {
		struct source *best = NULL;

		for (unsigned i = 0; i < plan->sources_len; i++) {
			struct source *source = &plan->sources[i];

			if (!source->base && source->usable &&
			    source->bytes >= SOURCE_LEAST &&
			    form->depth + source->cost <= most &&
			    (!best || source->bytes > best->bytes))
				best = source;
		}
		if (!best)
			return;
		form->bases[form->base_count++] = best->number;
		form->depth += best->cost;
		best->base = (uint8_t)form->base_count;
	}
}

/* Make the pieces name bases instead of sources. */
static void plan_finish(struct plan *plan)
{
	struct splice from = plan->splice;

	plan->splice.count = 0;
	for (unsigned i = 0; i < from.count; i++) {
		const struct splice_piece *piece = &from.pieces[i];
		uint32_t base = piece->base;

		base = base ? plan->sources[base - 1].base : 0;
		piece_add(&plan->splice, base, base ? piece->from : 0,
		          piece->len);
	}
}

/* Fill the plan.  Return true if the splice has a base. */
static bool plan_make(struct plan *plan, struct window *window,
                      struct form *form)
{
	struct match matches[MATCHES];
	unsigned count = window_match(window, plan->chunk, matches, MATCHES);
	uint32_t at = 0;

	for (unsigned i = 0; i < count; i++) {
		piece_add(&plan->splice, 0, 0, matches[i].to - at);
		plan_match(plan, &matches[i]);
		at = matches[i].to + matches[i].len;
	}
	piece_add(&plan->splice, 0, 0, plan->chunk->len - at);
	bases_choose(plan, form);
	plan_finish(plan);
	return form->base_count;
}

/*
 * Return true if a splice is worth a try.  After some misses, only one chunk in
 * MISSES_STEP is tried.
 */
static bool is_likely(const struct writing *w, const struct chunk *chunk,
                      size_t len)
{
	const struct splicing *s = &w->splicing;

	if (!w->txg->may_splice || w->store->options.delta_depth <= 0 ||
	    chunk->len < SHARE_MIN || len <= chunk->len / SHORT)
		return false;
	/* After a splice, bytes may have moved beyond the old end of file. */
	if (!chunk->replaces)
		return s->next && s->next == w->at;
	return s->misses < MISSES_FREE || w->at % MISSES_STEP == 0;
}

int chunk_splice(struct writing *w, const struct chunk *chunk,
                 struct encoded *encoded)
{
	struct plan plan = {.w = w, .chunk = chunk};
	struct splicing *s = &w->splicing;
	struct form *form = &encoded->form;
	struct form made = {0};
	size_t most = form->len;
	int r = 0;

	if (encoded->patch || !is_likely(w, chunk, form->len))
		return 0;
	if (!s->window)
		r = window_create(&s->window);
	if (r == 0)
		r = window_move(s->window, w,
		                s->misses < MISSES_FREE ? WINDOW_REACH
		                                        : MISSES_REACH);
	if (r < 0)
		return r;
	s->misses++;
	if (!plan_make(&plan, s->window, &made))
		return 0;
	s->misses = 0;
	/*
	 * A splice must save a quarter of a form that needs no other chunk.
	 * Instead of a delta it need not save bytes: no chain grows.
	 */
	if (!form->base_count)
		most = most / 4 * 3;
	if (!encoder_run_splice(w->encoder, chunk, encoded->hash, &plan.splice,
	                        most, &made))
		return 0;
	s->next = w->at + 1;
	*form = made;
	return 0;
}
