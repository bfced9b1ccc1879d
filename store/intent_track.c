/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tracking the changes of a group since its last entry in the intent log.  If
 * there is no memory for that, only the commit makes them durable.
 */
#include "intent_track.h"

#include "array.h"
#include "chunk.h"
#include "txg.h"
#include "util.h"

void intent_track_stop(struct txg *txg)
{
	txg->intent.on = false;
	txg->records.track = false;
}

void intent_track_block(struct txg *txg, struct block *block)
{
	struct intent_track *track = &txg->intent;

	if (!track->on || block->unlogged)
		return;
	if (array_grow(&track->blocks, track->blocks_len,
	               &track->blocks_capacity)) {
		intent_track_stop(txg);
		return;
	}
	track->blocks[track->blocks_len++] = block;
	block->unlogged = (uint32_t)track->blocks_len;
}

void intent_track_bytes(struct txg *txg, struct chunk *chunk, uint32_t from,
                        uint32_t to)
{
	if (chunk->block.unlogged) {
		chunk->unlogged_from = MIN(chunk->unlogged_from, from);
		chunk->unlogged_to = MAX(chunk->unlogged_to, to);
		return;
	}
	chunk->unlogged_from = from;
	chunk->unlogged_to = to;
	intent_track_block(txg, &chunk->block);
}

void intent_track_gone(struct txg *txg, struct block *block)
{
	struct intent_track *track = &txg->intent;

	if (!track->on)
		return;
	if (block->unlogged) {
		struct block *last = track->blocks[--track->blocks_len];

		track->blocks[block->unlogged - 1] = last;
		last->unlogged = block->unlogged;
		block->unlogged = 0;
	}
	if (!block->logged)
		return;
	if (array_grow(&track->gone, track->gone_len, &track->gone_capacity)) {
		intent_track_stop(txg);
		return;
	}
	track->gone[track->gone_len++] = block->number;
}

void intent_track_release(struct intent_track *track)
{
	free(track->blocks);
	free(track->gone);
}
