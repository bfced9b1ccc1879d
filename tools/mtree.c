/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mtree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "escaped_name.h"
#include "util.h"

enum { PATH_MOST = 1 << 20 };

void manifest_entry_release(struct manifest_entry *entry)
{
	free(entry->path);
	free(entry->link);
	*entry = (struct manifest_entry){0};
}

/* ---- Rows --------------------------------------------------------------- */

/* Return a number of the row, and set `has` if the row has it. */
static uint64_t row_number(const json_t *row, const char *key,
                           struct manifest_entry *entry, unsigned has)
{
	const json_t *value = json_object_get(row, key);

	if (!json_is_integer(value))
		return 0;
	entry->has |= has;
	return (uint64_t)json_integer_value(value);
}

static void row_text(const json_t *row, const char *key, char *out, size_t size)
{
	const char *text = json_string_value(json_object_get(row, key));

	snprintf(out, size, "%s", text ? text : "");
}

/* Return the bytes of an escaped name, which the caller frees; NULL: none. */
static char *row_name(const json_t *row, const char *key)
{
	const json_t *value = json_object_get(row, key);
	char *name;

	if (!json_is_string(value) || json_string_length(value) >= PATH_MOST)
		return NULL;
	name = malloc(json_string_length(value) + 1);
	if (name && name_unescape(value, name, json_string_length(value) + 1)) {
		free(name);
		return NULL;
	}
	return name;
}

int manifest_entry_decode(const json_t *row, struct manifest_entry *ret_entry)
{
	struct manifest_entry e = {.path = row_name(row, "path")};

	if (!e.path)
		return -EINVAL;
	row_text(row, "type", e.type, sizeof(e.type));
	e.mode = (uint32_t)row_number(row, "mode", &e, HAS_MODE);
	e.uid = row_number(row, "uid", &e, HAS_UID);
	e.gid = row_number(row, "gid", &e, HAS_GID);
	e.nlink = row_number(row, "nlink", &e, HAS_NLINK);
	e.size = row_number(row, "size", &e, HAS_SIZE);
	e.sec = (int64_t)row_number(row, "sec", &e, HAS_TIME);
	e.nsec = (int64_t)row_number(row, "nsec", &e, 0);
	e.major = row_number(row, "major", &e, HAS_DEVICE);
	e.minor = row_number(row, "minor", &e, 0);
	e.link = row_name(row, "link");
	row_text(row, "sha256", e.sha256, sizeof(e.sha256));
	row_text(row, "xxh3", e.xxh3, sizeof(e.xxh3));
	*ret_entry = e;
	return 0;
}

/* ---- Printing ----------------------------------------------------------- */

/* Print a name as vis(3) does, with ambiguous bytes as \OOO. */
static void print_name(const char *name)
{
	for (const char *c = name; *c; c++) {
		unsigned char byte = (unsigned char)*c;

		if (byte <= ' ' || byte >= 0x7f || strchr("\\#=*?[", byte))
			printf("\\%03o", byte);
		else
			putchar(byte);
	}
}

void mtree_print(const struct manifest_entry *e)
{
	print_name(e->path);
	printf(" type=%s mode=0%o uid=%llu gid=%llu nlink=%llu "
	       "time=%lld.%09lld",
	       e->type, e->mode, (unsigned long long)e->uid,
	       (unsigned long long)e->gid, (unsigned long long)e->nlink,
	       (long long)e->sec, (long long)e->nsec);
	if (e->has & HAS_SIZE)
		printf(" size=%llu", (unsigned long long)e->size);
	if (e->has & HAS_DEVICE)
		printf(" device=native,%llu,%llu", (unsigned long long)e->major,
		       (unsigned long long)e->minor);
	if (e->link) {
		fputs(" link=", stdout);
		print_name(e->link);
	}
	if (*e->sha256)
		printf(" sha256digest=%s", e->sha256);
	if (*e->xxh3)
		printf(" xxh3=%s", e->xxh3);
	putchar('\n');
}

/* ---- Reading ------------------------------------------------------------ */

struct reading {
	manifest_entry_fn *fn;
	void *arg;
	struct manifest_entry set; /* values of /set; path and link are NULL */
	char *dir; /* directory of names without a slash; NULL: none yet */
};

/* Undo vis(3) in place. */
static void unvis(char *text)
{
	static const char letters[] = "snrtbavf", bytes[] = " \n\r\t\b\a\v\f";
	const char *letter;
	char *out = text;

	while (*text) {
		if (*text != '\\') {
			*out++ = *text++;
		} else if (text[1] >= '0' && text[1] <= '3' && text[2] >= '0' &&
		           text[2] <= '7' && text[3] >= '0' && text[3] <= '7') {
			*out++ = (char)((text[1] - '0') * 64 +
			                (text[2] - '0') * 8 + text[3] - '0');
			text += 4;
		} else if (text[1]) {
			letter = strchr(letters, text[1]);
			*out++ = letter ? bytes[letter - letters] : text[1];
			text += 2;
		} else {
			*out++ = *text++;
		}
	}
	*out = 0;
}

static int take_number(const char *value, int base, uint64_t *ret_number)
{
	char *end;

	errno = 0;
	*ret_number = strtoull(value, &end, base);
	return errno || end == value || *end || *value == '-' ? -EINVAL : 0;
}

/* Read a time: seconds, and an optional decimal fraction after a dot. */
static int take_time(const char *value, struct manifest_entry *e)
{
	char digits[10] = "000000000";
	const char *dot = strchr(value, '.');
	char *end;

	errno = 0;
	e->sec = strtoll(value, &end, 10);
	if (errno || end == value || (*end && *end != '.'))
		return -EINVAL;
	if (dot && strspn(dot + 1, "0123456789") != strlen(dot + 1))
		return -EINVAL;
	if (dot)
		memcpy(digits, dot + 1, MIN(strlen(dot + 1), (size_t)9));
	e->nsec = dot ? atoll(digits) : -1;
	return 0;
}

static int take_device(const char *value, struct manifest_entry *e)
{
	unsigned long long major, minor;
	char rest;

	/* Other forms of a device are not compared. */
	if (sscanf(value, "native,%llu,%llu%c", &major, &minor, &rest) != 2) {
		e->has &= ~(unsigned)HAS_DEVICE;
		return 0;
	}
	e->major = major;
	e->minor = minor;
	return 0;
}

static int take_text(const char *value, char *out, size_t size)
{
	return (size_t)snprintf(out, size, "%s", value) < size ? 0 : -EINVAL;
}

static int take_link(char *value, struct manifest_entry *e)
{
	unvis(value);
	free(e->link);
	e->link = strdup(value);
	return e->link ? 0 : -ENOMEM;
}

static int take_mode(const char *value, struct manifest_entry *e)
{
	uint64_t mode;
	int r = take_number(value, 8, &mode);

	e->mode = (uint32_t)(mode & 07777);
	return r;
}

/* Set the field of a keyword.  Unknown keywords are ignored. */
static int take_keyword(char *word, struct manifest_entry *e)
{
	char *value = strchr(word, '=');

	if (!value) {
		e->has |= strcmp(word, "optional") ? 0 : IS_OPTIONAL;
		return 0;
	}
	*value++ = 0;
	if (!strcmp(word, "type"))
		return take_text(value, e->type, sizeof(e->type));
	if (!strcmp(word, "sha256") || !strcmp(word, "sha256digest"))
		return take_text(value, e->sha256, sizeof(e->sha256));
	if (!strcmp(word, "xxh3"))
		return take_text(value, e->xxh3, sizeof(e->xxh3));
	if (!strcmp(word, "link"))
		return take_link(value, e);
	if (!strcmp(word, "mode"))
		return e->has |= HAS_MODE, take_mode(value, e);
	if (!strcmp(word, "uid"))
		return e->has |= HAS_UID, take_number(value, 10, &e->uid);
	if (!strcmp(word, "gid"))
		return e->has |= HAS_GID, take_number(value, 10, &e->gid);
	if (!strcmp(word, "nlink"))
		return e->has |= HAS_NLINK, take_number(value, 10, &e->nlink);
	if (!strcmp(word, "size"))
		return e->has |= HAS_SIZE, take_number(value, 10, &e->size);
	if (!strcmp(word, "time"))
		return e->has |= HAS_TIME, take_time(value, e);
	if (!strcmp(word, "device"))
		return e->has |= HAS_DEVICE, take_device(value, e);
	return 0;
}

static int take_keywords(char *words, struct manifest_entry *e)
{
	char *at, *word = strtok_r(words, " \t", &at);
	int r = 0;

	for (; !r && word; word = strtok_r(NULL, " \t", &at))
		r = take_keyword(word, e);
	return r;
}

/* Return the path of a name: of one without slashes, in r->dir. */
static char *path_of(const struct reading *r, const char *name)
{
	char *path;
	int len;

	if (!strcmp(name, ".") || !strcmp(name, "./"))
		return strdup(".");
	if (!strchr(name, '/')) {
		len = asprintf(&path, "%s/%s", r->dir ? r->dir : ".", name);
	} else {
		name += !strncmp(name, "./", 2) ? 2 : *name == '/';
		len = asprintf(&path, "./%s", name);
	}
	return len < 0 ? NULL : path;
}

/* Make r->dir its parent directory. */
static int dir_up(struct reading *r)
{
	char *slash = r->dir ? strrchr(r->dir, '/') : NULL;

	if (!r->dir)
		return -EINVAL;
	if (slash)
		*slash = 0;
	else
		free(steal(&r->dir));
	return 0;
}

static int read_entry(struct reading *r, char *name, char *words)
{
	struct manifest_entry e = r->set;
	bool enters = !strchr(name, '/');
	int err;

	unvis(name);
	e.path = path_of(r, name);
	err = e.path ? take_keywords(words, &e) : -ENOMEM;
	if (!err && enters && !strcmp(e.type, "dir")) {
		free(r->dir);
		r->dir = strdup(e.path);
		err = r->dir ? 0 : -ENOMEM;
	}
	if (!err)
		return r->fn(r->arg, &e);
	manifest_entry_release(&e);
	return err;
}

static int read_json(struct reading *r, const char *line)
{
	json_auto_t *row = json_loads(line, 0, NULL);
	struct manifest_entry e;
	int err = row ? manifest_entry_decode(row, &e) : -EINVAL;

	return err ? err : r->fn(r->arg, &e);
}

static int read_line(struct reading *r, char *line)
{
	char *words;
	int err = 0;

	line += strspn(line, " \t");
	if (!*line || *line == '#')
		return 0;
	if (*line == '{')
		return read_json(r, line);
	words = line + strcspn(line, " \t");
	if (*words)
		*words++ = 0;
	if (!strcmp(line, "/set")) {
		err = take_keywords(words, &r->set);
		free(steal(&r->set.link));
	} else if (!strcmp(line, "/unset")) {
		r->set = (struct manifest_entry){0};
	} else if (!strcmp(line, "..")) {
		err = dir_up(r);
	} else if (*line == '/' && !strchr(line + 1, '/') &&
	           !strchr(words, '=')) {
		err = -EINVAL;
	} else {
		err = read_entry(r, line, words);
	}
	return err;
}

/* Cut off the end of the line.  Return true if the next line continues it. */
static bool line_end(char *line, size_t *len)
{
	while (*len && (line[*len - 1] == '\n' || line[*len - 1] == '\r'))
		line[--*len] = 0;
	if (!*len || line[*len - 1] != '\\')
		return false;
	line[--*len] = 0;
	return true;
}

int manifest_read(FILE *file, manifest_entry_fn *fn, void *arg,
                  unsigned long *ret_line)
{
	struct reading r = {.fn = fn, .arg = arg};
	_cleanup_free_ char *line = NULL, *whole = NULL;
	size_t capacity = 0, len, had = 0;
	unsigned long number = 0;
	ssize_t n;
	int err = 0;

	while (!err && (n = getline(&line, &capacity, file)) >= 0) {
		bool more;
		char *longer;

		number++;
		len = (size_t)n;
		more = strlen(line) == len && line_end(line, &len);
		if (strlen(line) != len) { /* it has a NUL */
			err = -EINVAL;
			break;
		}
		longer = realloc(whole, had + len + 1);
		if (!longer) {
			err = -ENOMEM;
			break;
		}
		whole = longer;
		memcpy(whole + had, line, len + 1);
		had = more ? had + len : 0;
		if (!more)
			err = read_line(&r, whole);
	}
	if (!err && ferror(file))
		err = -EIO;
	free(r.dir);
	free(r.set.link);
	*ret_line = number;
	return err;
}
