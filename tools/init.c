/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice init: a new store with its first fork, main. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "command.h"
#include "size.h"
#include "snapshot.h"
#include "store_make.h"
#include "util.h"

enum { MAX_SIZE_LEAST = 1 << 20 };

mode_t directory_mode(void)
{
	mode_t mask = umask(0);

	umask(mask);
	return 0777 & ~mask;
}

static const char *reason(int err)
{
	switch (err) {
	case -EEXIST:
		return "there is a store already";
	case -ENOTEMPTY:
		return "the directory is not empty";
	case -EBUSY:
		return "another process is making one there";
	default:
		return strerror(-err);
	}
}

/* Return true and the exponent if size is a power of two, 4 to 128 KiB. */
static bool chunk_bits(uint64_t size, uint32_t *ret_bits)
{
	for (uint32_t bits = 12; bits <= 17; bits++) {
		if (size == UINT64_C(1) << bits) {
			*ret_bits = bits;
			return true;
		}
	}
	return false;
}

/* The arguments of the options; NULL: not given. */
struct sizes {
	const char *max, *chunk, *node;
};

/* Parse the sizes into params.  Return an exit code. */
static int parse_sizes(const struct command *self, const struct sizes *sizes,
                       struct store_params *params)
{
	const char *texts[] = {sizes->max, sizes->chunk, sizes->node};
	uint64_t values[ARRAY_SIZE(texts)] = {0};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		if (texts[i] && size_parse(texts[i], &values[i]))
			return command_usage(self, "'%s' is not a size",
			                     texts[i]);
	}
	if (sizes->max && values[0] < MAX_SIZE_LEAST)
		return command_usage(self, "a store's least size is 1M");
	if (sizes->chunk && !chunk_bits(values[1], &params->chunk_bits))
		return command_usage(self, "a chunk's size is a power of two "
		                           "from 4K to 128K");
	if (sizes->node &&
	    (values[2] < STORE_NODE_SIZE_DEFAULT || values[2] > 4080))
		return command_usage(self,
		                     "a node's size is 2016 to 4080 bytes");
	params->max_size = values[0];
	params->node_size = (uint32_t)values[2];
	return EXIT_DONE;
}

static int run(const struct command *self, int argc, char **argv)
{
	struct store_params params = {0};
	struct sizes sizes = {0};
	const struct command_option options[] = {
	        {"max-size", .value = &sizes.max},
	        {"chunk-size", .value = &sizes.chunk},
	        {"node-size", .value = &sizes.node},
	        {0},
	};
	int r;

	if (!command_parse(self, options, 1, 1, &argc, &argv, &r))
		return r;
	r = parse_sizes(self, &sizes, &params);
	if (r)
		return r;
	r = store_make(argv[0], &params, directory_mode());
	if (!r)
		return EXIT_DONE;
	complain("cannot make a store in '%s': %s", argv[0], reason(r));
	return EXIT_FAILED;
}

const struct command command_init = {
        .name = "init",
        .args = "[OPTION]... STORE",
        .summary = "Make a new store in an empty or missing directory",
        .help = "The store has one fork, main, which is empty and belongs to "
                "the caller.\n"
                "\n"
                "      --max-size=SIZE    limit the size of the store's file\n"
                "      --chunk-size=SIZE  size of the chunks that files are "
                "cut into: a power\n"
                "                         of two from 4K to 128K (default: "
                "64K)\n"
                "      --node-size=BYTES  size of tree nodes, 2016 to 4080 "
                "(default: 2016)\n",
        .run = run,
};
