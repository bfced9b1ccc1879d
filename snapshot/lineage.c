/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lineage.h"

#include <errno.h>

#include "forest.h"
#include "util.h"

enum { PIECE = 256 }; /* versions read in a call */

int lineage_unnamed(struct forest *forest, struct lineage_walk *walk,
                    struct unnamed_version *ret_versions, size_t most,
                    size_t *ret_count)
{
	size_t count = 0;

	for (unsigned i = 0; i < PIECE && count < most; i++) {
		struct record record;
		struct version v = {0};
		uint8_t key[8];
		int r;

		be64_put(key, walk->at);
		r = table_next(forest->store, TABLE_VERSION, key,
		               walk->at ? sizeof(key) : 0, &record);
		if (r == -ENOENT)
			*ret_count = count;
		if (r < 0)
			return r == -ENOENT ? 0 : r;
		if (record.key_len != sizeof(key) ||
		    version_decode(record.value, record.len, &v))
			return -EUCLEAN;
		walk->at = be64_get(record.key);
		if (v.refs)
			continue;
		ret_versions[count++] = (struct unnamed_version){
		        .version = walk->at,
		        .parent = v.parent,
		        .created = v.created,
		};
	}
	*ret_count = count;
	return -EAGAIN;
}
