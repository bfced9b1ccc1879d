/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The expected content of the directory of a worker in mode model. */
#ifndef COPPICE_COHERENCE_MODEL_H
#define COPPICE_COHERENCE_MODEL_H

#include "coherence.h"

enum {
	FILE_MAX = 400 << 10,
	INODES = 24,
	DIRS = 3,
	NAMES = 5,
	DIR_NAMES = 5,
	HANDLES = 10,
	MAPS = 5,
	XATTRS = 3,
	XATTR_MAX = 3000,
	SYMLINK_MAX = 30,
	PATH_LEN = 400,
	PAGE = 4096,
	NONE = -1,
};

struct inode {
	bool used;
	unsigned links, holds; /* names; descriptors and maps */
	size_t size;
	mode_t mode;
	uid_t uid;
	uint8_t *data; /* FILE_MAX bytes, zeros from size on */
	struct {
		bool set;
		size_t len;
		uint8_t byte;
	} xattrs[XATTRS];
};

struct name {
	int inode;       /* NONE: not a file */
	unsigned target; /* length of a symlink's; 0: none */
};

struct dir {
	int name; /* its name is d<name>; NONE: not there */
	mode_t mode;
	struct name names[NAMES];
};

struct handle {
	int fd; /* NONE: unused */
	unsigned mount;
	int inode;
	int flags;
};

struct map {
	uint8_t *at; /* FILE_MAX bytes; NULL: unused */
	unsigned mount;
	int inode;
};

struct model {
	struct worker *worker;
	bool active[MOUNTS_MAX];
	struct inode inodes[INODES];
	struct dir dirs[DIRS];
	struct handle handles[HANDLES];
	struct map maps[MAPS];
	uint8_t *buffer;   /* FILE_MAX bytes, aligned for O_DIRECT */
	uint8_t byte;      /* the one that this step writes */
	unsigned unmapped; /* maps that were refused */
};

/* A file's name, or none. */
struct place {
	int dir, name;
};

/* Paths: text in the caller's memory, of PATH_LEN bytes. */
char *path_of_top(const struct model *model, unsigned mount, char *ret_path);
char *path_of_dir(const struct model *model, unsigned mount, int dir,
                  char *ret_path);
char *path_of(const struct model *model, unsigned mount, struct place place,
              char *ret_path);

unsigned some_mount(struct model *model);
/* Access the bytes of a map, which must all be there. */
void map_access(struct model *model, struct map *map, void (*fn)(void *arg),
                void *arg);
void inode_hold(struct model *model, int inode);
void inode_drop(struct model *model, int inode);

/*
 * Compare one file through a random mount in a random way; the handle or map
 * it takes is a random one of those there are.
 */
void check_some(struct model *model, int inode);
/* Compare all names, attributes and bytes through a mount. */
void check_all(struct model *model, unsigned mount);
/* The same of what is below a path, which cannot be written. */
void check_snapshot(struct model *model, const char *top);
/* Compare through all open files and maps. */
void check_open(struct model *model);

#endif
