/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Images: opening them, their records and nodes, and the telling of damage. */
#include "image.h"

#include <errno.h>
#include <stdarg.h>

enum { TEXT_MAX = 300 };

/* ---- Telling ------------------------------------------------------------ */

void image_report(struct image *image, const char *kind, uint64_t block,
                  const struct key *key, const char *format, ...)
{
	struct damage damage = {.kind = kind, .block = block, .key = key};
	char text[TEXT_MAX];
	va_list args;
	int r;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	damage.text = text;
	if (image->tree)
		damage.version = image->tree->version;
	if (image->stopped)
		return;
	r = image->options.found(image->options.arg, &damage);
	if (r)
		image->stopped = r;
}

int image_stopped(struct image *image)
{
	if (!image->stopped &&
	    disk_read_outdated(&image->store->disk, image->txn))
		image->stopped = -EIO;
	return image->stopped;
}

int image_progress(struct image *image, const char *what, uint64_t done,
                   uint64_t all)
{
	if (!image->stopped && image->options.progress)
		image->stopped = image->options.progress(image->options.arg,
		                                         what, done, all);
	return image->stopped;
}

bool image_grow(struct image *image, void **array, size_t item, size_t len,
                size_t *capacity)
{
	size_t more = *capacity ? *capacity + *capacity / 2 : 64;
	void *grown;

	if (len < *capacity)
		return true;
	grown = realloc(*array, more * item);
	if (!grown) {
		image->stopped = -ENOMEM;
		return false;
	}
	*array = grown;
	*capacity = more;
	return true;
}

/* ---- Opening ------------------------------------------------------------ */

int image_open(struct store *store, const struct image_options *options,
               struct image **ret_image)
{
	struct image *image = calloc(1, sizeof(*image));
	int r;

	if (!image)
		return -ENOMEM;
	image->store = store;
	image->options = *options;
	r = disk_read_begin(&store->disk, &image->txn);
	if (r == 0)
		r = image_scan_pages(image);
	if (r < 0) {
		image_close(image);
		return r;
	}
	*ret_image = image;
	return 0;
}

void image_close(struct image *image)
{
	if (!image)
		return;
	if (image->txn)
		disk_read_end(&image->store->disk, image->txn);
	free(image->numbers);
	free(image->marks);
	free(image->names);
	free(image->lists);
	free(image->shared.at);
	free(image->killed.at);
	free(image->gaps);
	free(image);
}

int image_scan(struct image *image)
{
	int r = image_scan_blocks(image);

	if (!r)
		r = image_scan_aliases(image);
	if (!r)
		r = image_scan_hashes(image);
	if (!r)
		r = image_scan_lists(image);
	return r ? r : image->stopped;
}

/* ---- Records ------------------------------------------------------------ */

int image_record(struct image *image, enum table table, const void *key,
                 size_t key_len, bool after, struct record *ret_record)
{
	uint8_t full[TABLE_KEY_MAX + 1];
	MDB_val k = {key_len + 1, full}, v;
	MDB_cursor *cursor;
	int r;

	if (key_len > TABLE_KEY_MAX)
		return -EINVAL;
	full[0] = (uint8_t)table;
	memcpy(full + 1, key, key_len);
	r = disk_error(disk_cursor_open(image->txn, image->store->disk.records,
	                                &cursor));
	if (r < 0)
		return r;
	r = disk_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
	if (!r && after && k.mv_size == key_len + 1 &&
	    !memcmp(k.mv_data, full, key_len + 1))
		r = disk_cursor_get(cursor, &k, &v, MDB_NEXT);
	mdb_cursor_close(cursor);
	if (r)
		return disk_error(r);
	if (*(const uint8_t *)k.mv_data != table)
		return -ENOENT;
	ret_record->key_len = (uint32_t)k.mv_size - 1;
	ret_record->len = (uint32_t)MIN(v.mv_size, (size_t)TABLE_VALUE_MAX);
	if (ret_record->key_len > TABLE_KEY_MAX)
		return -EUCLEAN;
	memcpy(ret_record->key, (const uint8_t *)k.mv_data + 1,
	       ret_record->key_len);
	memcpy(ret_record->value, v.mv_data, ret_record->len);
	return 0;
}

int image_counters(struct image *image, uint64_t *ret_tick,
                   uint64_t ret_counters[COUNTER_COUNT])
{
	static const char key[] = "counters";
	struct record record;
	struct reader r;
	uint64_t tick, counters[COUNTER_COUNT];
	int err = image_record(image, TABLE_META, key, sizeof(key) - 1, false,
	                       &record);

	if (err < 0 && err != -ENOENT)
		return err;
	if (err || record.key_len != sizeof(key) - 1 ||
	    memcmp(record.key, key, sizeof(key) - 1))
		return -EUCLEAN;
	r = reader_init(record.value, record.len);
	tick = get_u64(&r);
	for (int i = 0; i < COUNTER_COUNT; i++)
		counters[i] = get_u64(&r);
	if (!reader_done(&r))
		return -EUCLEAN;
	*ret_tick = tick;
	memcpy(ret_counters, counters, sizeof(counters));
	return 0;
}

/* ---- Blocks and nodes --------------------------------------------------- */

size_t image_index(const struct image *image, uint64_t number)
{
	size_t low = 0, high = image->len;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (image->numbers[middle] == number)
			return middle;
		if (image->numbers[middle] < number)
			low = middle + 1;
		else
			high = middle;
	}
	return NO_INDEX;
}

const uint8_t *image_node(struct image *image, uint64_t number,
                          uint8_t room[NODE_SIZE_MAX])
{
	size_t slot =
	        (size_t)(number * 0x9e3779b97f4a7c15 >> 32) & (IMAGE_CACHE - 1);
	const uint8_t *data;
	size_t i;
	uint32_t len;
	MDB_val value;

	if (image->cache[slot].number == number && number)
		return image->cache[slot].data;
	i = image_index(image, number);
	if (i == NO_INDEX ||
	    (image->marks[i] & (MARK_NODE | MARK_BAD)) != MARK_NODE ||
	    image_stopped(image) ||
	    disk_get(image->txn, image->store->disk.blocks,
	             number << DISK_FRAGMENT_BITS, &value) ||
	    node_decode(image->store, image->txn, number, &value, room, &data,
	                &len))
		return NULL;
	if (data != room) {
		image->cache[slot].number = number;
		image->cache[slot].data = data;
	}
	return data;
}

/* ---- Looking things up -------------------------------------------------- */

static void item_get(struct image *image, const uint8_t *data, uint32_t slot,
                     struct item *ret_item)
{
	node_get(data, slot, ret_item);
	memcpy(image->value, ret_item->value, ret_item->len);
	ret_item->value = image->value;
}

/*
 * The first item at or after key below the node; -ENOENT: none there.  Levels
 * go down at every step, so damage can lead astray but not round in circles.
 */
static int node_seek(struct image *image, uint64_t number, int level,
                     packed key, struct item *ret_item)
{
	uint8_t room[NODE_SIZE_MAX];
	const uint8_t *data = image_node(image, number, room);
	uint32_t slot;
	bool exact;
	int r = -ENOENT;

	if (!data || (level >= 0 && (int)node_level(data) != level))
		return -EUCLEAN;
	if (!node_level(data)) {
		slot = node_find(data, key, &exact);
		if (slot == node_count(data))
			return -ENOENT;
		item_get(image, data, slot, ret_item);
		return 0;
	}
	for (slot = node_route(data, key);
	     r == -ENOENT && slot < node_count(data); slot++)
		r = node_seek(image, node_child(data, slot),
		              (int)node_level(data) - 1, key, ret_item);
	return r;
}

int image_seek(struct image *image, uint64_t root, const struct key *key,
               struct item *ret_item)
{
	if (!root)
		return -ENOENT;
	return node_seek(image, root, -1, key_pack(key), ret_item);
}

int image_get(struct image *image, uint64_t root, const struct key *key,
              struct item *ret_item)
{
	uint8_t room[NODE_SIZE_MAX];
	packed want = key_pack(key);
	const uint8_t *data;
	uint64_t number = root;
	int level = -1;
	uint32_t slot;
	bool exact;

	if (!root)
		return -ENOENT;
	for (;;) {
		data = image_node(image, number, room);
		if (!data || (level >= 0 && (int)node_level(data) != level))
			return -EUCLEAN;
		level = (int)node_level(data) - 1;
		if (level < 0)
			break;
		number = node_child(data, node_route(data, want));
	}
	slot = node_find(data, want, &exact);
	if (!exact)
		return -ENOENT;
	item_get(image, data, slot, ret_item);
	return 0;
}
