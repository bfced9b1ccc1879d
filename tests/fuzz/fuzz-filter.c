/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any lines as rules of a filter, and the last one as a path. */
#include "fuzz.h"
#include "path_filter.h"

enum { LONGEST = 2000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct path_filter filter = {0};
	char *text = malloc(len + 2), *at, *line;

	if (len > LONGEST)
		len = 0;
	fuzz_assert(text);
	/* A path begins with a slash. */
	memcpy(text + 1, data, len);
	text[len + 1] = 0;
	at = text + 1;
	while ((line = strsep(&at, "\n")) && at) {
		size_t had = filter.len;

		if (path_filter_add(&filter, line))
			fuzz_assert(filter.len == had);
	}
	line[-1] = '/';
	fuzz_assert(filter.len || !path_filter_excludes(&filter, line - 1, 0));
	path_filter_excludes(&filter, line - 1, true);
	path_filter_excludes(&filter, line - 1, false);
	path_filter_release(&filter);
	free(text);
	return 0;
}
