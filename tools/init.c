/* SPDX-License-Identifier: GPL-2.0-or-later */
/* coppice init: a new store with its first fork, main. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "command.h"
#include "size.h"
#include "snapshot.h"
#include "util.h"

enum { OPTION_CHUNK = 256, OPTION_NODE, OPTION_MAX };
enum { MAX_SIZE_LEAST = 1 << 20 };

mode_t directory_mode(void)
{
	mode_t mask = umask(0);

	umask(mask);
	return 0777 & ~mask;
}

static int store_make(const char *path, const struct store_params *params)
{
	struct store_options options = {0};
	bool there = access(path, F_OK) == 0;
	struct store *store;
	int r, closed;

	r = store_create(path, params);
	if (r)
		return r;
	r = store_open(path, &options, &store);
	if (!r) {
		r = forest_create(store, getuid(), getgid(), directory_mode());
		closed = store_close(store);
		r = r ? r : closed;
	}
	/* What is half made is in the way of another try. */
	if (r && there)
		store_remove_files(path);
	else if (r)
		store_remove(path);
	return r;
}

static const char *reason(int err)
{
	switch (err) {
	case -EEXIST:
		return "there is a store already";
	case -ENOTEMPTY:
		return "the directory is not empty";
	default:
		return strerror(-err);
	}
}

/* A power of two from 4 KiB to 128 KiB. */
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

static int run(const struct command *self, int argc, char **argv)
{
	static const struct option options[] = {
	        {"chunk-size", required_argument, NULL, OPTION_CHUNK},
	        {"node-size", required_argument, NULL, OPTION_NODE},
	        {"max-size", required_argument, NULL, OPTION_MAX},
	        HELP_OPTION,
	        {0},
	};
	struct store_params params = {0};
	uint64_t size = 0;
	int c, r;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c < OPTION_CHUNK)
			return command_option(self, c);
		if (size_parse(optarg, &size))
			return command_usage(self, "'%s' is not a size",
			                     optarg);
		switch (c) {
		case OPTION_CHUNK:
			if (!chunk_bits(size, &params.chunk_bits))
				return command_usage(
				        self, "a chunk's size is a power of "
				              "two from 4K to 128K");
			break;
		case OPTION_NODE:
			if (size < STORE_NODE_SIZE_DEFAULT || size > 4080)
				return command_usage(
				        self, "a node's size is 2016 to 4080 "
				              "bytes");
			params.node_size = (uint32_t)size;
			break;
		case OPTION_MAX:
			if (size < MAX_SIZE_LEAST)
				return command_usage(
				        self, "a store's least size is 1M");
			params.max_size = size;
			break;
		}
	}
	if (argc - optind != 1)
		return command_usage(self, NULL);
	r = store_make(argv[optind], &params);
	if (!r)
		return EXIT_DONE;
	complain("cannot make a store in '%s': %s", argv[optind], reason(r));
	return EXIT_FAILED;
}

const struct command command_init = {
        .name = "init",
        .args = "[OPTION]... STORE",
        .summary = "Make a new store in an empty or missing directory",
        .help = "The store has one fork, main, empty, and owned by the "
                "caller.\n"
                "\n"
                "      --max-size=SIZE    let the store grow to this and no "
                "further\n"
                "      --chunk-size=SIZE  what files are cut into: a power of "
                "two from\n"
                "                         4K to 128K (64K)\n"
                "      --node-size=BYTES  size of the tree's nodes, 2016 to "
                "4080 (2016)\n",
        .run = run,
};
