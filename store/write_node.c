/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writing a node: as it is, compressed, or as a delta against another one. */
#include <errno.h>
#include <string.h>

#include "free.h"
#include "write.h"

void node_encode(struct writing *w, const struct node *node,
                 struct encoded *ret_encoded)
{
	uint64_t key = node->block.number << DISK_FRAGMENT_BITS;
	uint64_t copied = node->copied;
	struct encoded e = {0};
	MDB_val value;
	size_t len;

	/* Other threads read the node: set the checksum in a copy. */
	memcpy(w->node, node->data, w->store->geometry.node_size);
	len = node_seal(w->store, node->block.number, w->node);
	if (node->stored && !disk_get(w->txn, w->disk->blocks, key, &value)) {
		e.old_len = value.mv_size;
		e.old_base = node_stored_base(&value);
	}
	/* Do not keep a node that this group frees as a base. */
	if (writing_freed(w, copied))
		copied = e.old_base;
	e.form.bases[0] = node_encoder_run(w->node_encoder, w->store, w->txn,
	                                   copied, w->node, len, &e.form.data,
	                                   &e.form.len, &e.former_bytes);
	e.form.base_count = e.form.bases[0] != 0;
	if (e.former_bytes)
		e.former = copied;
	*ret_encoded = e;
}

/* Update the references after a node got another base; 0 stands for none. */
static int node_rebase(struct writing *w, uint64_t old, uint64_t base)
{
	uint64_t bytes = 0;
	int r = 0;

	if (old == base)
		return 0;
	if (base)
		r = refcount_up(w->store, w->txn, base);
	if (r == 0 && old) {
		r = stored_free(w->store, w->txn, old, &bytes);
		writing_leaves(w);
	}
	return r;
}

int writing_node(struct writing *w, const struct node *node,
                 const struct encoded *encoded)
{
	uint64_t key = node->block.number << DISK_FRAGMENT_BITS;
	const struct form *form = &encoded->form;
	struct usage *usage;
	int r = writing_put(w, key, form->data, form->len);

	if (r == 0)
		r = node_rebase(w, encoded->old_base, form->bases[0]);
	if (r < 0)
		return r;
	usage = accounting_get(&w->accounting, node->block.owner);
	usage->unique += (int64_t)form->len - (int64_t)encoded->old_len;
	return 0;
}
