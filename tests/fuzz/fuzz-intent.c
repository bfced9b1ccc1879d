/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The changes in an entry of the intent log, without its header.  They are made
 * in a store that is not committed.
 */
#include <errno.h>
#include <unistd.h>

#include "engine.h"
#include "intent_entry.h"
#include "fuzz.h"
#include "scratch.h"

static struct scratch scratch;

static void at_end(void)
{
	scratch_release(&scratch);
}

static void begin(void)
{
	fuzz_quiet();
	scratch_init(&scratch);
	fuzz_assert(!store_create(scratch.store, NULL));
	atexit(at_end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct store_options options = {.readonly = true};
	struct store *store;
	int r;

	if (!*scratch.dir)
		begin();
	fuzz_assert(!store_open(scratch.store, &options, &store));
	store_lock(store);
	r = intent_decode(store, data, len);
	fuzz_assert(r == 0 || r == -EUCLEAN || r == -ENOMEM);
	/* Once more: blocks and records are there by now. */
	if (r == 0)
		intent_decode(store, data, len);
	store_unlock(store);
	fuzz_assert(!store_close(store));
	return 0;
}
