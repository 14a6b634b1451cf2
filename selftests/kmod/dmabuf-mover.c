// SPDX-License-Identifier: GPL-2.0-only
/*
 * A dma-buf exporter whose buffers move, for tests of importers.
 *
 * A GPU moves its buffers when memory gets short.  This exporter does so when
 * asked to, at a rate, or in reclaim, and shows what an importer got wrong:
 *
 *  - DMA to where the buffer was is lost, as the content is in new pages by
 *    then.  The old pages are poisoned and kept until the next move, so that a
 *    late write is noticed by itself, and does not hit somebody else's memory.
 *  - DMA from where the buffer was finds MOVER_POISON.
 *  - Moving from a shrinker, with fs_reclaim held, lets lockdep see which locks
 *    invalidate_mappings() takes there.
 *
 * The ioctls of /dev/dmabuf-mover are in dmabuf-mover.h.  selftests/mover.h
 * calls them, selftests/io/mover.c tests them.
 *
 * dma_resv of the buffer protects all of struct mover but for what says
 * otherwise.  It is taken below mmap_lock (page faults), and in reclaim it is
 * only tried.
 */
#include <linux/delay.h>
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/highmem.h>
#include <linux/kthread.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/random.h>
#include <linux/sched/mm.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "dmabuf-mover.h"

/* Beyond that a test has a typo. */
#define MOVER_MAX_BYTES		SZ_1G
#define MOVER_MAX_RATE		100000

struct mover {
	struct dma_buf		*dmabuf;	/* constant, as the next two */
	unsigned long		nr;
	u32			flags;
	struct page		**pages;	/* where the content is */
	struct page		**left;		/* where it was, or NULLs */
	struct list_head	maps;
	unsigned int		pinned;
	struct mover_fail	fail;
	struct mover_stat	stat;
	struct mutex		storm_lock;	/* for the next two */
	struct task_struct	*storm;
	u32			per_second;
	struct list_head	shrink_node;	/* mover_shrink_lock */
};

struct mover_map {
	struct list_head	node;
	struct sg_table		sgt;
	struct device		*dev;
	enum dma_data_direction	dir;
	u64			generation;	/* the moves before it */
};

/* Taken in reclaim: nobody who holds it may allocate. */
static DEFINE_MUTEX(mover_shrink_lock);
static LIST_HEAD(mover_shrink_list);
static unsigned long mover_shrinkable;
static struct shrinker *mover_shrinker;

/* ---- pages -------------------------------------------------------------- */

static void mover_free(struct mover *m, struct page **pages)
{
	unsigned long i;

	for (i = 0; i < m->nr; i++) {
		if (pages[i])
			__free_page(pages[i]);
		pages[i] = NULL;
	}
}

static int mover_compare(const void *a, const void *b)
{
	unsigned long one = page_to_pfn(*(struct page **)a);
	unsigned long other = page_to_pfn(*(struct page **)b);

	return one < other ? 1 : -1;
}

/* From the last page in memory to the first, so that no two make one piece. */
static int mover_alloc_scattered(struct mover *m, struct page **pages,
				 gfp_t gfp)
{
	unsigned long i;

	for (i = 0; i < m->nr; i++) {
		pages[i] = alloc_page(gfp);
		if (!pages[i])
			return -ENOMEM;
	}
	sort(pages, m->nr, sizeof(*pages), mover_compare, NULL);
	return 0;
}

/* alloc_pages_exact() splits: each page is freed by itself. */
static int mover_alloc_chunk(struct mover *m, struct page **pages, gfp_t gfp)
{
	void *chunk = alloc_pages_exact(m->nr << PAGE_SHIFT, gfp);
	unsigned long i;

	if (!chunk)
		return -ENOMEM;
	for (i = 0; i < m->nr; i++)
		pages[i] = virt_to_page(chunk + (i << PAGE_SHIFT));
	return 0;
}

static void mover_reverse(struct mover *m, struct page **pages)
{
	unsigned long i;

	for (i = 0; i < m->nr / 2; i++)
		swap(pages[i], pages[m->nr - 1 - i]);
}

static void mover_shuffle(struct mover *m, struct page **pages)
{
	unsigned long i, k;

	for (i = m->nr - 1; i; i--) {
		k = get_random_u32_below(i + 1);
		swap(pages[i], pages[k]);
	}
}

/* Pages for the content after @moves moves. */
static int mover_alloc(struct mover *m, struct page **pages, u64 moves,
		       gfp_t gfp)
{
	int ret;

	gfp |= __GFP_NOWARN;
	if (m->flags & MOVER_CONTIGUOUS)
		ret = mover_alloc_chunk(m, pages, gfp);
	else
		ret = mover_alloc_scattered(m, pages, gfp);
	if (ret)
		mover_free(m, pages);
	else if (moves & 1 && m->flags & MOVER_REVERSE)
		mover_reverse(m, pages);
	else if (moves & 1 && m->flags & MOVER_SHUFFLE)
		mover_shuffle(m, pages);
	return ret;
}

/* Free what the last move left behind.  Nobody may have written to it. */
static void mover_free_left(struct mover *m)
{
	unsigned long i, bad = 0;

	for (i = 0; i < m->nr && m->left[i]; i++)
		if (memchr_inv(page_address(m->left[i]), MOVER_POISON,
			       PAGE_SIZE))
			bad++;
	WARN(bad, "dmabuf-mover: %lu pages were written to after the move\n",
	     bad);
	m->stat.late_writes += bad;
	mover_free(m, m->left);
}

/* ---- moving ------------------------------------------------------------- */

/* Until all that DMA has ended that importers know of. */
static void mover_invalidate(struct mover *m)
{
	struct mover_stat *stat = &m->stat;
	u64 start = ktime_get_ns(), ns;

	dma_buf_invalidate_mappings(m->dmabuf);
	dma_resv_wait_timeout(m->dmabuf->resv, DMA_RESV_USAGE_BOOKKEEP, false,
			      MAX_SCHEDULE_TIMEOUT);
	ns = ktime_get_ns() - start;
	stat->total_ns += ns;
	stat->max_ns = max(stat->max_ns, ns);
	stat->stale = stat->mapped;
}

static int mover_move(struct mover *m, gfp_t gfp)
{
	unsigned long i;
	int ret = -EBUSY;

	dma_resv_assert_held(m->dmabuf->resv);
	if (m->pinned || m->dmabuf->vmapping_counter)
		goto refused;
	mover_free_left(m);
	ret = mover_alloc(m, m->left, m->stat.moves + 1, gfp);
	if (ret)
		goto refused;
	mover_invalidate(m);
	/* The next access faults, and waits for dma_resv. */
	unmap_mapping_range(m->dmabuf->file->f_mapping, 0, 0, 1);
	for (i = 0; i < m->nr; i++) {
		copy_highpage(m->left[i], m->pages[i]);
		memset(page_address(m->pages[i]), MOVER_POISON, PAGE_SIZE);
	}
	swap(m->left, m->pages);
	m->stat.moves++;
	return 0;

refused:
	m->stat.refused++;
	return ret;
}

static int mover_move_locked(struct mover *m)
{
	int ret;

	dma_resv_lock(m->dmabuf->resv, NULL);
	ret = mover_move(m, GFP_KERNEL);
	dma_resv_unlock(m->dmabuf->resv);
	return ret;
}

/*
 * What a task in reclaim is: lockdep has to know, and no allocation may enter
 * reclaim again.  Changes nothing for a task that is there already.
 */
static unsigned int mover_enter_reclaim(void)
{
	fs_reclaim_acquire(GFP_KERNEL);
	return memalloc_noreclaim_save();
}

static void mover_leave_reclaim(unsigned int flags)
{
	memalloc_noreclaim_restore(flags);
	fs_reclaim_release(GFP_KERNEL);
}

/* Whoever came here by allocating may hold dma_resv. */
static int mover_try_move(struct mover *m)
{
	int ret;

	if (!dma_resv_trylock(m->dmabuf->resv))
		return -EAGAIN;
	ret = mover_move(m, GFP_NOWAIT);
	dma_resv_unlock(m->dmabuf->resv);
	return ret;
}

static int mover_reclaim(struct mover *m)
{
	unsigned int flags = mover_enter_reclaim();
	int ret = mover_try_move(m);

	mover_leave_reclaim(flags);
	return ret;
}

/*
 * For those who have no file descriptor, and are stopped in mover_release(): the
 * address space is gone by then.  The file is not.
 */
static bool mover_get(struct mover *m)
{
	return file_ref_get(&m->dmabuf->file->f_ref);
}

/* ---- the shrinker ------------------------------------------------------- */

static unsigned long mover_shrink_count(struct shrinker *shrinker,
					struct shrink_control *sc)
{
	return READ_ONCE(mover_shrinkable);
}

/* Moves each buffer once.  That frees nothing, so do not ask again. */
static unsigned long mover_shrink_scan(struct shrinker *shrinker,
				       struct shrink_control *sc)
{
	unsigned int flags;
	struct mover *m;

	/* dma_resv ranks above fs_reclaim, and not above GFP_NOFS. */
	if (!(sc->gfp_mask & __GFP_FS))
		return SHRINK_STOP;
	flags = mover_enter_reclaim();
	scoped_guard(mutex, &mover_shrink_lock) {
		list_for_each_entry(m, &mover_shrink_list, shrink_node) {
			if (!mover_get(m))
				continue;
			mover_try_move(m);
			dma_buf_put(m->dmabuf);
		}
	}
	mover_leave_reclaim(flags);
	return SHRINK_STOP;
}

static int mover_shrink(struct mover *m, bool on)
{
	guard(mutex)(&mover_shrink_lock);
	if (on == !list_empty(&m->shrink_node))
		return 0;
	if (on) {
		list_add_tail(&m->shrink_node, &mover_shrink_list);
		mover_shrinkable += m->nr;
	} else {
		list_del_init(&m->shrink_node);
		mover_shrinkable -= m->nr;
	}
	return 0;
}

/* ---- the storm ---------------------------------------------------------- */

static int mover_storm_run(void *arg)
{
	struct mover *m = arg;
	ktime_t next = ktime_get();

	while (!kthread_should_stop()) {
		if (mover_get(m)) {
			mover_move_locked(m);
			dma_buf_put(m->dmabuf);
		}
		next = ktime_add_ns(next, NSEC_PER_SEC / m->per_second);
		/* What is late is not made up for. */
		if (ktime_before(next, ktime_get()))
			next = ktime_get();
		set_current_state(TASK_INTERRUPTIBLE);
		if (!kthread_should_stop())
			schedule_hrtimeout(&next, HRTIMER_MODE_ABS);
		__set_current_state(TASK_RUNNING);
	}
	return 0;
}

static int mover_storm(struct mover *m, u32 per_second)
{
	struct task_struct *task;

	if (per_second > MOVER_MAX_RATE)
		return -EINVAL;
	guard(mutex)(&m->storm_lock);
	if (m->storm)
		kthread_stop(m->storm);
	m->storm = NULL;
	if (!per_second)
		return 0;
	m->per_second = per_second;
	task = kthread_run(mover_storm_run, m, "dmabuf-mover");
	if (IS_ERR(task))
		return PTR_ERR(task);
	m->storm = task;
	return 0;
}

/* ---- importers ---------------------------------------------------------- */

static int mover_attach(struct dma_buf *dmabuf, struct dma_buf_attachment *at)
{
	struct mover *m = dmabuf->priv;

	return -(int)READ_ONCE(m->fail.attach_errno);
}

static int mover_pin(struct dma_buf_attachment *at)
{
	struct mover *m = at->dmabuf->priv;

	m->pinned++;
	m->stat.pins++;
	return 0;
}

static void mover_unpin(struct dma_buf_attachment *at)
{
	struct mover *m = at->dmabuf->priv;

	m->pinned--;
}

/* The pages as they are now; the caller maps them. */
static struct mover_map *mover_new_map(struct mover *m,
				       struct dma_buf_attachment *at,
				       enum dma_data_direction dir)
{
	struct mover_map *map = kzalloc_obj(*map);
	int ret;

	if (!map)
		return ERR_PTR(-ENOMEM);
	map->dev = at->dev;
	map->dir = dir;
	map->generation = m->stat.moves;
	ret = sg_alloc_table_from_pages(&map->sgt, m->pages, m->nr, 0,
					m->nr << PAGE_SHIFT, GFP_KERNEL);
	if (ret) {
		kfree(map);
		return ERR_PTR(ret);
	}
	return map;
}

static struct sg_table *mover_map(struct dma_buf_attachment *at,
				  enum dma_data_direction dir)
{
	struct mover *m = at->dmabuf->priv;
	struct mover_map *map;
	int ret;

	if (m->fail.map_delay_ms)
		msleep(m->fail.map_delay_ms);
	if (m->fail.map_errno)
		return ERR_PTR(-(int)m->fail.map_errno);
	if (m->flags & MOVER_READ_ONLY && dir != DMA_TO_DEVICE)
		return ERR_PTR(-EACCES);
	map = mover_new_map(m, at, dir);
	if (IS_ERR(map))
		return ERR_CAST(map);
	ret = dma_map_sgtable(map->dev, &map->sgt, dir, 0);
	if (ret) {
		sg_free_table(&map->sgt);
		kfree(map);
		return ERR_PTR(ret);
	}
	list_add(&map->node, &m->maps);
	m->stat.mapped++;
	m->stat.maps++;
	return &map->sgt;
}

static void mover_unmap(struct dma_buf_attachment *at, struct sg_table *sgt,
			enum dma_data_direction dir)
{
	struct mover_map *map = container_of(sgt, struct mover_map, sgt);
	struct mover *m = at->dmabuf->priv;

	/* During a move, before the content goes: bounce buffers need that. */
	dma_unmap_sgtable(map->dev, sgt, dir, 0);
	if (map->generation != m->stat.moves)
		m->stat.stale--;
	m->stat.mapped--;
	m->stat.unmaps++;
	list_del(&map->node);
	sg_free_table(sgt);
	kfree(map);
}

static int mover_begin_cpu_access(struct dma_buf *dmabuf,
				  enum dma_data_direction dir)
{
	struct mover *m = dmabuf->priv;
	struct mover_map *map;

	dma_resv_lock(dmabuf->resv, NULL);
	m->stat.cpu_access++;
	list_for_each_entry(map, &m->maps, node)
		dma_sync_sgtable_for_cpu(map->dev, &map->sgt, map->dir);
	dma_resv_unlock(dmabuf->resv);
	return 0;
}

static int mover_end_cpu_access(struct dma_buf *dmabuf,
				enum dma_data_direction dir)
{
	struct mover *m = dmabuf->priv;
	struct mover_map *map;

	dma_resv_lock(dmabuf->resv, NULL);
	list_for_each_entry(map, &m->maps, node)
		dma_sync_sgtable_for_device(map->dev, &map->sgt, map->dir);
	dma_resv_unlock(dmabuf->resv);
	return 0;
}

/* It stays where it is until mover_vunmap(). */
static int mover_vmap(struct dma_buf *dmabuf, struct iosys_map *map)
{
	struct mover *m = dmabuf->priv;
	void *addr = vmap(m->pages, m->nr, VM_MAP, PAGE_KERNEL);

	if (!addr)
		return -ENOMEM;
	m->stat.vmaps++;
	/* It is none, but importers have to take it for that. */
	if (m->flags & MOVER_IOMEM)
		iosys_map_set_vaddr_iomem(map, (void __iomem __force *)addr);
	else
		iosys_map_set_vaddr(map, addr);
	return 0;
}

static void mover_vunmap(struct dma_buf *dmabuf, struct iosys_map *map)
{
	vunmap(map->is_iomem ? (void __force *)map->vaddr_iomem : map->vaddr);
}

static vm_fault_t mover_fault(struct vm_fault *vmf)
{
	struct mover *m = vmf->vma->vm_private_data;
	vm_fault_t ret = VM_FAULT_SIGBUS;

	dma_resv_lock(m->dmabuf->resv, NULL);
	if (vmf->pgoff < m->nr)
		ret = vmf_insert_pfn(vmf->vma, vmf->address,
				     page_to_pfn(m->pages[vmf->pgoff]));
	dma_resv_unlock(m->dmabuf->resv);
	return ret;
}

static const struct vm_operations_struct mover_vm_ops = {
	.fault	= mover_fault,
};

/* Each dma-buf has an inode, hence an address space, of its own. */
static int mover_mmap(struct dma_buf *dmabuf, struct vm_area_struct *vma)
{
	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	vma->vm_ops = &mover_vm_ops;
	vma->vm_private_data = dmabuf->priv;
	vm_flags_set(vma, VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	return 0;
}

static void mover_destroy(struct mover *m)
{
	if (m->left)
		mover_free_left(m);
	if (m->pages)
		mover_free(m, m->pages);
	kvfree(m->left);
	kvfree(m->pages);
	kfree(m);
}

static void mover_release(struct dma_buf *dmabuf)
{
	struct mover *m = dmabuf->priv;

	mover_shrink(m, false);
	mover_storm(m, 0);
	mover_destroy(m);
}

#define MOVER_OPS						\
	.attach			= mover_attach,			\
	.pin			= mover_pin,			\
	.unpin			= mover_unpin,			\
	.map_dma_buf		= mover_map,			\
	.unmap_dma_buf		= mover_unmap,			\
	.release		= mover_release,		\
	.begin_cpu_access	= mover_begin_cpu_access,	\
	.end_cpu_access		= mover_end_cpu_access,		\
	.mmap			= mover_mmap

static const struct dma_buf_ops mover_ops = {
	MOVER_OPS,
	.vmap			= mover_vmap,
	.vunmap			= mover_vunmap,
};

/* A vmap that fails is one that dma-buf.c warns about. */
static const struct dma_buf_ops mover_ops_no_vmap = {
	MOVER_OPS,
};

/* ---- /dev/dmabuf-mover -------------------------------------------------- */

static int mover_fill(struct mover *m, const char __user *data)
{
	unsigned long i;

	for (i = 0; data && i < m->nr; i++)
		if (copy_from_user(page_address(m->pages[i]),
				   data + (i << PAGE_SHIFT), PAGE_SIZE))
			return -EFAULT;
	return 0;
}

static struct mover *mover_new(const struct mover_create *create)
{
	struct mover *m = kzalloc_obj(*m);
	int ret = -ENOMEM;

	if (!m)
		return ERR_PTR(-ENOMEM);
	m->nr = create->bytes >> PAGE_SHIFT;
	m->flags = create->flags;
	INIT_LIST_HEAD(&m->maps);
	INIT_LIST_HEAD(&m->shrink_node);
	mutex_init(&m->storm_lock);
	m->pages = kvcalloc(m->nr, sizeof(*m->pages), GFP_KERNEL);
	m->left = kvcalloc(m->nr, sizeof(*m->left), GFP_KERNEL);
	if (m->pages && m->left)
		ret = mover_alloc(m, m->pages, 0, GFP_KERNEL | __GFP_ZERO);
	if (!ret)
		ret = mover_fill(m, u64_to_user_ptr(create->data));
	if (ret) {
		mover_destroy(m);
		return ERR_PTR(ret);
	}
	return m;
}

static int mover_create(const struct mover_create *create)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct dma_buf *dmabuf;
	struct mover *m;
	int fd;

	if (!create->bytes || create->bytes > MOVER_MAX_BYTES ||
	    !PAGE_ALIGNED(create->bytes) || create->flags & ~MOVER_FLAGS ||
	    (create->flags & MOVER_CONTIGUOUS &&
	     get_order(create->bytes) > MAX_PAGE_ORDER))
		return -EINVAL;
	m = mover_new(create);
	if (IS_ERR(m))
		return PTR_ERR(m);
	info.ops = m->flags & MOVER_NO_VMAP ? &mover_ops_no_vmap : &mover_ops;
	info.size = create->bytes;
	info.flags = m->flags & MOVER_READ_ONLY ? O_RDONLY : O_RDWR;
	info.priv = m;
	dmabuf = dma_buf_export(&info);
	if (IS_ERR(dmabuf)) {
		mover_destroy(m);
		return PTR_ERR(dmabuf);
	}
	/* From here it is the dma-buf that ends it. */
	m->dmabuf = dmabuf;
	fd = dma_buf_fd(dmabuf, O_CLOEXEC);
	if (fd < 0)
		dma_buf_put(dmabuf);
	return fd;
}

static int mover_set_fail(struct mover *m, const struct mover_fail *fail)
{
	if (fail->attach_errno > MAX_ERRNO || fail->map_errno > MAX_ERRNO)
		return -EINVAL;
	dma_resv_lock(m->dmabuf->resv, NULL);
	m->fail = *fail;
	dma_resv_unlock(m->dmabuf->resv);
	return 0;
}

static unsigned long mover_ranges(const struct mover *m)
{
	unsigned long i, n = 1;

	for (i = 1; i < m->nr; i++)
		n += page_to_pfn(m->pages[i]) != page_to_pfn(m->pages[i - 1]) + 1;
	return n;
}

static int mover_get_stat(struct mover *m, struct mover_stat *stat)
{
	int fd = stat->fd;

	dma_resv_lock(m->dmabuf->resv, NULL);
	*stat = m->stat;
	stat->attachments = list_count_nodes(&m->dmabuf->attachments);
	stat->ranges = mover_ranges(m);
	dma_resv_unlock(m->dmabuf->resv);
	stat->fd = fd;
	return 0;
}

union mover_args {
	__s32			fd;	/* first in all but create */
	struct mover_create	create;
	struct mover_op		op;
	struct mover_fail	fail;
	struct mover_stat	stat;
};

static int mover_do(struct mover *m, unsigned int cmd, union mover_args *args)
{
	switch (cmd) {
	case MOVER_MOVE:
		return mover_move_locked(m);
	case MOVER_STORM:
		return mover_storm(m, args->op.arg);
	case MOVER_RECLAIM:
		return mover_reclaim(m);
	case MOVER_SHRINK:
		return mover_shrink(m, args->op.arg);
	case MOVER_FAIL:
		return mover_set_fail(m, &args->fail);
	case MOVER_STAT:
		return mover_get_stat(m, &args->stat);
	default:
		return -ENOTTY;
	}
}

static int mover_do_fd(unsigned int cmd, union mover_args *args)
{
	struct dma_buf *dmabuf = dma_buf_get(args->fd);
	int ret = -EINVAL;

	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	if (dmabuf->ops == &mover_ops || dmabuf->ops == &mover_ops_no_vmap)
		ret = mover_do(dmabuf->priv, cmd, args);
	dma_buf_put(dmabuf);
	return ret;
}

static long mover_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	void __user *user = (void __user *)arg;
	union mover_args args = {};
	int ret;

	if (_IOC_SIZE(cmd) > sizeof(args))
		return -ENOTTY;
	if (copy_from_user(&args, user, _IOC_SIZE(cmd)))
		return -EFAULT;
	if (cmd == MOVER_CREATE)
		return mover_create(&args.create);
	ret = mover_do_fd(cmd, &args);
	if (!ret && cmd == MOVER_STAT &&
	    copy_to_user(user, &args.stat, sizeof(args.stat)))
		return -EFAULT;
	return ret;
}

static const struct file_operations mover_fops = {
	.owner		= THIS_MODULE,
	.unlocked_ioctl	= mover_ioctl,
};

static struct miscdevice mover_misc = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "dmabuf-mover",
	.fops	= &mover_fops,
};

static int __init mover_init(void)
{
	int ret;

	mover_shrinker = shrinker_alloc(0, "dmabuf-mover");
	if (!mover_shrinker)
		return -ENOMEM;
	mover_shrinker->count_objects = mover_shrink_count;
	mover_shrinker->scan_objects = mover_shrink_scan;
	ret = misc_register(&mover_misc);
	if (ret) {
		shrinker_free(mover_shrinker);
		return ret;
	}
	shrinker_register(mover_shrinker);
	return 0;
}

/* No buffer is left: each of them holds the module. */
static void __exit mover_exit(void)
{
	misc_deregister(&mover_misc);
	shrinker_free(mover_shrinker);
}

module_init(mover_init);
module_exit(mover_exit);

MODULE_DESCRIPTION("dma-buf exporter whose buffers move, for tests");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("DMA_BUF");
