/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Feeds a target every file of its corpus, or those that are named: without
 * libFuzzer, as one of the ordinary tests.
 */
#include <dirent.h>
#include <errno.h>

#include "fuzz.h"

static int feed(const char *path)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data = NULL;
	size_t len = 0, n;

	if (!file) {
		fprintf(stderr, "cannot open '%s': %s\n", path,
		        strerror(errno));
		return -1;
	}
	do {
		data = realloc(data, len + 65536);
		fuzz_assert(data);
		n = fread(data + len, 1, 65536, file);
		len += n;
	} while (n);
	fclose(file);
	/* Exactly as large as it is, for the sanitizers. */
	data = realloc(data, len ? len : 1);
	fuzz_assert(data);
	LLVMFuzzerTestOneInput(data, len);
	free(data);
	return 0;
}

static int is_file(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

int main(int argc, char **argv)
{
	struct dirent **entries;
	int count, bad = 0;

	if (argc > 1) {
		for (int i = 1; i < argc; i++)
			bad |= feed(argv[i]);
		return bad ? 1 : 0;
	}
	count = scandir(FUZZ_CORPUS, &entries, is_file, alphasort);
	printf("1..%d\n", count > 0 ? count : 1);
	if (count <= 0)
		printf("not ok 1 - the corpus %s is empty\n", FUZZ_CORPUS);
	for (int i = 0; i < count; i++) {
		char path[4096];
		int r;

		snprintf(path, sizeof(path), "%s/%s", FUZZ_CORPUS,
		         entries[i]->d_name);
		fflush(stdout);
		r = feed(path);
		printf("%sok %d - %s\n", r ? "not " : "", i + 1,
		       entries[i]->d_name);
		bad |= r;
		free(entries[i]);
	}
	if (count > 0)
		free(entries);
	return bad || count <= 0;
}
