/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "manifest_verify.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "array.h"
#include "command.h"
#include "target.h"
#include "util.h"

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct expected *)a)->entry.path,
	              ((const struct expected *)b)->entry.path);
}

static int add(void *arg, struct manifest_entry *entry)
{
	struct manifest_verify *verify = arg;
	struct expected *expected =
	        array_add(&verify->expected, &verify->len, &verify->capacity);

	if (!expected) {
		manifest_entry_release(entry);
		return -ENOMEM;
	}
	expected->entry = *entry;
	return 0;
}

int manifest_verify_init(struct manifest_verify *verify, const char *path)
{
	bool is_stdin = !strcmp(path, "-");
	FILE *file = is_stdin ? stdin : fopen(path, "re");
	unsigned long line = 0;
	int r = file ? 0 : -errno;

	if (!r)
		r = manifest_read(file, add, verify, &line);
	if (file && !is_stdin)
		fclose(file);
	if (r == -EINVAL)
		complain("'%s' is not a manifest: line %lu cannot be read",
		         path, line);
	else if (r)
		complain("cannot read '%s': %s", path, strerror(-r));
	else if (!verify->len)
		complain("'%s' is not a manifest: it names no files", path);
	if (r || !verify->len)
		return EXIT_TROUBLE;
	array_sort(verify->expected, verify->len, compare);
	return EXIT_DONE;
}

void manifest_verify_release(struct manifest_verify *verify)
{
	for (size_t i = 0; i < verify->len; i++)
		manifest_entry_release(&verify->expected[i].entry);
	free(verify->expected);
}

const char *manifest_verify_hash(const struct manifest_verify *verify)
{
	const char *hash = NULL;

	for (size_t i = 0; i < verify->len; i++) {
		if (*verify->expected[i].entry.sha256)
			return "sha256";
		if (*verify->expected[i].entry.xxh3)
			hash = "xxh3";
	}
	return hash;
}

static void print_path(const char *path)
{
	for (; *path; path++) {
		unsigned char byte = (unsigned char)*path;

		if (byte < ' ' || byte == 0x7f || byte == '\\')
			printf("\\%03o", byte);
		else
			putchar(byte);
	}
}

/* A file's differences, printed in one line. */
struct line {
	const char *path;
	bool any;
};

__attribute__((format(printf, 2, 3))) static void
differs(struct line *line, const char *format, ...)
{
	va_list ap;

	if (!line->any) {
		fputs("changed: ", stdout);
		print_path(line->path);
	}
	fputs(line->any ? ", " : ": ", stdout);
	line->any = true;
	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
}

static void compare_number(struct line *line, const char *what, uint64_t want,
                           uint64_t is)
{
	if (want != is)
		differs(line, "%s %llu is %llu", what, (unsigned long long)want,
		        (unsigned long long)is);
}

static void compare_owner(struct line *line, const struct manifest_entry *want,
                          const struct manifest_entry *is)
{
	if ((want->has & HAS_MODE) && want->mode != is->mode)
		differs(line, "mode %04o is %04o", want->mode, is->mode);
	if (want->has & HAS_UID)
		compare_number(line, "uid", want->uid, is->uid);
	if (want->has & HAS_GID)
		compare_number(line, "gid", want->gid, is->gid);
	/* File systems count the links of directories differently. */
	if ((want->has & HAS_NLINK) && strcmp(is->type, "dir"))
		compare_number(line, "nlink", want->nlink, is->nlink);
	if ((want->has & HAS_TIME) &&
	    (want->sec != is->sec ||
	     (want->nsec >= 0 && want->nsec != is->nsec)))
		differs(line, "time %lld.%09lld is %lld.%09lld",
		        (long long)want->sec, (long long)MAX(want->nsec, 0),
		        (long long)is->sec, (long long)is->nsec);
}

static void compare_content(struct line *line,
                            const struct manifest_entry *want,
                            const struct manifest_entry *is)
{
	if ((want->has & HAS_SIZE) && (is->has & HAS_SIZE))
		compare_number(line, "size", want->size, is->size);
	if (*want->sha256 && *is->sha256 &&
	    strcasecmp(want->sha256, is->sha256))
		differs(line, "sha256 differs");
	if (*want->xxh3 && *is->xxh3 && strcasecmp(want->xxh3, is->xxh3))
		differs(line, "xxh3 differs");
	if (want->link && is->link && strcmp(want->link, is->link))
		differs(line, "link differs");
	if ((want->has & HAS_DEVICE) && (is->has & HAS_DEVICE) &&
	    (want->major != is->major || want->minor != is->minor))
		differs(line, "device differs");
}

void manifest_verify_file(struct manifest_verify *verify,
                          const struct manifest_entry *entry)
{
	const struct expected key = {.entry = *entry};
	struct expected *found = bsearch(&key, verify->expected, verify->len,
	                                 sizeof(key), compare);
	struct line line = {.path = entry->path};

	if (!found) {
		verify->differences++;
		fputs("extra: ", stdout);
		print_path(entry->path);
		putchar('\n');
		return;
	}
	found->seen = true;
	if (*found->entry.type && strcmp(found->entry.type, entry->type)) {
		differs(&line, "type %s is %s", found->entry.type, entry->type);
	} else {
		compare_owner(&line, &found->entry, entry);
		compare_content(&line, &found->entry, entry);
	}
	if (line.any) {
		verify->differences++;
		putchar('\n');
	}
}

int manifest_verify_end(struct manifest_verify *verify)
{
	for (size_t i = 0; i < verify->len; i++) {
		const struct expected *e = &verify->expected[i];

		if (e->seen || (e->entry.has & IS_OPTIONAL))
			continue;
		/* Report a path that the manifest has twice only once. */
		if (i && !compare(e, e - 1))
			continue;
		if (i + 1 < verify->len && !compare(e, e + 1) && e[1].seen)
			continue;
		verify->differences++;
		fputs("missing: ", stdout);
		print_path(e->entry.path);
		putchar('\n');
	}
	return verify->differences ? EXIT_DIFFERS : EXIT_DONE;
}
