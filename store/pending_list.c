/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Additions to deadlists, by list. */
#include "pending_list.h"

#include "array.h"
#include "engine.h"
#include "number_index.h"

static uint64_t pending_at(void *arg, uint32_t i)
{
	return ((struct txg *)arg)->lists[i].list;
}

static struct pending_list *pending_find(struct txg *txg, uint64_t list,
                                         bool create)
{
	uint32_t *slot;

	if (create && number_index_grow((void **)&txg->lists,
	                                sizeof(*txg->lists), txg->lists_len,
	                                &txg->lists_capacity, &txg->list_index,
	                                &txg->list_index_size, pending_at, txg))
		txg_out_of_memory();
	if (!txg->list_index)
		return NULL;
	slot = number_index_find(txg->list_index, txg->list_index_size, list,
	                         pending_at, txg);
	if (!*slot) {
		if (!create)
			return NULL;
		txg->lists[txg->lists_len] =
		        (struct pending_list){.list = list};
		*slot = (uint32_t)++txg->lists_len;
	}
	return &txg->lists[*slot - 1];
}

void list_add(struct store *store, uint64_t list, uint64_t number)
{
	struct pending_list *p = pending_find(store->open_txg, list, true);

	if (array_grow(&p->numbers, p->len, &p->capacity))
		txg_out_of_memory();
	p->numbers[p->len++] = number;
	txg_touch(store, sizeof(number));
}

int64_t pending_entries(const struct txg *txg, uint64_t list)
{
	const struct pending_list *p =
	        pending_find((struct txg *)txg, list, false);

	return p ? (int64_t)p->len + p->moved : 0;
}

void pending_move(struct txg *txg, uint64_t from, uint64_t to, int64_t entries)
{
	pending_find(txg, from, true)->moved -= entries;
	pending_find(txg, to, true)->moved += entries;
}
