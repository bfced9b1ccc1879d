/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Any bytes as a batch of changes: what can be read is written again as it was.
 */
#include <string.h>

#include "batch_code.h"
#include "fuzz.h"
#include "util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct batch_bytes again = {0};
	struct batch_reader reader;
	struct batch_op op;
	int r;

	fuzz_quiet();
	if (batch_reader_init(&reader, data, len))
		return 0;
	while ((r = batch_reader_next(&reader, &op)) > 0) {
		fuzz_assert(reader.at <= data + len);
		fuzz_assert(!batch_bytes_add(&again, &op));
	}
	if (again.len) {
		fuzz_assert(again.len <= len);
		fuzz_assert(!memcmp(again.data, data, again.len));
		fuzz_assert(r || again.len == len);
	}
	batch_bytes_release(&again);
	return 0;
}
