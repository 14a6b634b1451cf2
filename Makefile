# SPDX-License-Identifier: GPL-2.0-only
#
# Everything that is built goes to build/; 'make help' lists what there is.

VERSION := 0.1.0
PREFIX  ?= /usr/local
DESTDIR ?=

B := build

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
# No built-in rules: one of them would link build/kernel/vmlinux from vmlinux.o.
MAKEFLAGS += --no-print-directory -r
export LC_ALL := C

V ?= 0
Q := $(if $(filter 1,$(V)),,@)
msg = @printf '  %-7s %s\n' $(1) $(2)

ifndef CLANG
CLANG := $(shell kern/clang)
endif
export CLANG

##@ Using it

.PHONY: all
all: ## build kernel, tools, policies and programs
	$(Q)$(MAKE) kernel
	$(Q)$(MAKE) -j$$(nproc) tools user selftests

.PHONY: demo
demo: deps ## the main job in a VM, with an account of it and build/demo.json
	$(Q)$(MAKE) all
	$(Q)kern/build kernel kmod
	$(Q)selftests/run --demo

.PHONY: test
test: test-deps ## all tests (SUITES="a b" for some); TAP in build/tap
	$(Q)$(MAKE) modules
	$(Q)$(MAKE) -j$$(nproc) tools user selftests
	$(Q)$(MAKE) fio || echo "without its source no engine for fio" >&2
	$(Q)$(MAKE) deb || echo "without debhelper no packages" >&2
	$(Q)$(MAKE) sanitized
	$(Q)selftests/run $(SUITES)

.PHONY: matrix
matrix: ## which device takes which buffer: the last 'make test' as a table
	$(Q)test -s $(B)/matrix.json || { echo "run 'make test SUITES=matrix'" >&2; \
		exit 1; }
	$(Q)jq -rf selftests/devices/matrix.jq $(B)/matrix.json

# What allocates, maps, waits and goes away is worth the slow kernel.
DEBUG_SUITES := kunit comings-and-goings dmabuf-abi dmabuf-lifetime files fsx \
	invalidate many mover policy-life policy-queues policy-revoked stack storm \
	swiotlb

.PHONY: bench
bench: ## what an I/O costs, by path and IOMMU mode: build/bench.json
	$(Q)kern/setup --tests --check
	$(Q)$(MAKE) all
	$(Q)$(MAKE) kernel-bench kernel-stock
	$(Q)selftests/bench/bench

.PHONY: test-debug
test-debug: ## suites on a kernel with KASAN, lockdep and the like
	$(Q)kern/setup --tests --check
	$(Q)$(MAKE) all
	$(Q)$(MAKE) modules-debug
	$(Q)KERNEL=kernel-debug selftests/run $(or $(SUITES),$(DEBUG_SUITES))

.PHONY: check
check: ## sources, tools and the harness itself, on this machine
	$(Q)kern/setup --check
	$(Q)$(MAKE) all
	$(Q)selftests/run --host

.PHONY: shell
shell: ## a shell in the VM (PROFILE="iommu=strict nvme=1 ...")
	$(Q)kern/setup --check
	$(Q)$(MAKE) all
	$(Q)selftests/vm --shell $(PROFILE)

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' Makefile

.PHONY: clean
clean: ## remove programs and policies, keep kernel and downloads
	$(Q)rm -rf $(B)/bpf $(B)/user $(B)/selftests $(B)/tap $(B)/log \
		$(B)/bench $(B)/deb $(ASAN)

.PHONY: distclean
distclean: ## remove build/
	$(Q)rm -rf $(B)

##@ Kernel

.PHONY: deps
deps: ## install the Debian packages that are missing (NO_INSTALL=1: list them)
	$(Q)kern/setup

.PHONY: test-deps
test-deps: ## and those that only tests need
	$(Q)kern/setup --tests

.PHONY: prepare
prepare: ## bring build/linux up to date with kern/
	$(Q)kern/prepare

.PHONY: kernel
kernel: prepare ## build the kernel in build/kernel
	$(Q)kern/build kernel

.PHONY: kernel-debug
kernel-debug: prepare ## build it with KASAN, lockdep and the like
	$(Q)kern/build kernel-debug

.PHONY: kernel-bench
kernel-bench: prepare ## build it as distributions do, for 'make bench'
	$(Q)kern/build kernel-bench

.PHONY: kernel-stock
kernel-stock: prepare ## the same without the project's change
	$(Q)kern/build kernel-stock

.PHONY: distro-deps
distro-deps: ## and those that only kernel-distro needs
	$(Q)kern/setup --distro

.PHONY: kernel-distro
kernel-distro: prepare ## Debian packages of a kernel with Debian's configuration
	$(Q)packaging/kernel-distro

.PHONY: modules
modules: prepare ## the kernel with the modules that tests load
	$(Q)kern/build kernel modules

.PHONY: modules-debug
modules-debug: prepare ## the same with KASAN, lockdep and the like
	$(Q)kern/build kernel-debug modules

.PHONY: hooks-save
hooks-save: prepare ## write kern/patches from the commits in build/linux
	$(Q)kern/hooks save

.PHONY: hooks-check
hooks-check: prepare ## do kern/patches survive a round trip
	$(Q)kern/hooks check

.PHONY: hooks-stat
hooks-stat: ## changed lines per existing file, and the budget
	$(Q)kern/hooks stat

.PHONY: series
series: prepare ## the upstream-shaped series in build/series
	$(Q)kern/hooks series

.PHONY: series-check
series-check: series ## checkpatch and build every patch of it
	$(Q)kern/hooks series-check

.PHONY: rfc
rfc: series ## the series as mails, with a cover letter, in build/rfc
	$(Q)kern/rfc/write

.PHONY: sparse
sparse: prepare ## sparse over our kernel files
	$(Q)kern/hooks sparse

# ---- tools from the pinned kernel tree --------------------------------------

##@ Programs

BPFTOOL := $(B)/bpftool/bpftool
LIBBPF  := $(B)/bpftool/libbpf/libbpf.a
LIBBPF_INCLUDE := $(B)/bpftool/libbpf/include

# Building bpftool builds libbpf and installs its headers beside it. Position
# independent, so that libblkdmabuf.so can hold it. Disassemblers are left out:
# loading LLVM takes longer than what bpftool is asked for.
$(BPFTOOL):
	$(Q)test -n "$(CLANG)" || { echo "no clang >= 16; run 'make deps'" >&2; \
		exit 1; }
	$(Q)[ -e $(B)/linux/tools/bpf/bpftool ] || kern/prepare
	$(call msg,BUILD,$@)
	$(Q)mkdir -p $(B)/bpftool $(B)/log
	$(Q)$(MAKE) -C $(B)/linux/tools/bpf/bpftool OUTPUT=$(CURDIR)/$(B)/bpftool/ \
		CLANG=$(CLANG) LLVM_STRIP=$$($(CLANG) -print-prog-name=llvm-strip) \
		SKIP_LLVM=1 SKIP_LIBBFD=1 \
		EXTRA_CFLAGS='-g -O2 -fPIC' > $(B)/log/bpftool-build.log 2>&1 || \
		{ tail -20 $(B)/log/bpftool-build.log >&2; exit 1; }

$(LIBBPF): $(BPFTOOL) ;

.PHONY: tools
tools: $(BPFTOOL) ## bpftool and libbpf of the pinned kernel

# A kernel that is there is used as it is: whoever works on user space does not
# want to wait for somebody's kernel edit.
ifeq ($(wildcard $(B)/kernel/vmlinux),)
$(B)/kernel/vmlinux:
	$(Q)$(MAKE) kernel
endif

$(B)/vmlinux.h.stamp: $(B)/kernel/vmlinux vmlinux.h.gen $(BPFTOOL)
	$(call msg,GEN,$(B)/vmlinux.h)
	$(Q)./vmlinux.h.gen $(BPFTOOL) $< $(B)/vmlinux.h
	$(Q)touch $@

$(B)/vmlinux.h: $(B)/vmlinux.h.stamp ;

# ---- policies ---------------------------------------------------------------

BPF_SRC  := $(wildcard bpf/*.bpf.c)
BPF_OBJ  := $(BPF_SRC:%.c=$(B)/%.o)
BPF_SKEL := $(BPF_SRC:%.bpf.c=$(B)/%.skel.h)

TEST_BPF  := $(wildcard selftests/bpf/*.bpf.c)
TEST_OBJ  := $(TEST_BPF:%.c=$(B)/%.o)
TEST_SKEL := $(TEST_BPF:%.bpf.c=$(B)/%.skel.h)

BPF_CFLAGS := -target bpf -D__TARGET_ARCH_x86 -g -O2 -Wall -Wextra -Werror \
	-Iinclude/uapi -I$(B) -Ibpf -I$(LIBBPF_INCLUDE)

# Policies, the programs of tests in selftests/bpf, and blkdmabufctl's own.
$(B)/%.bpf.o: %.bpf.c $(B)/vmlinux.h $(LIBBPF) Makefile
	$(call msg,BPF,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -MMD -MP -MF $@.d -c $< -o $@

# The policy that CONTRIBUTING.md shows, made the way it says there.
MINE := $(B)/selftests/mine

$(MINE).bpf.c: bpf/minimal.bpf.c CONTRIBUTING.md
	$(Q)mkdir -p $(@D)
	$(Q)sed '/^SEC(".struct_ops.link")/,$$d' bpf/minimal.bpf.c > $@
	$(Q)sed -n '/^```c$$/,/^```$$/{//!p}' CONTRIBUTING.md >> $@

$(MINE).bpf.o: $(MINE).bpf.c $(B)/vmlinux.h $(LIBBPF)
	$(call msg,BPF,$@)
	$(Q)$(CLANG) $(BPF_CFLAGS) -c $< -o $@

# .skel.h: the object is part of the program, named after the policy.
$(B)/%.skel.h: $(B)/%.bpf.o
	$(call msg,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name $(subst -,_,$(*F)) > $@

.PHONY: bpf
bpf: $(BPF_OBJ) $(BPF_SKEL) ## the policies

# ---- user space -------------------------------------------------------------

LIB_OBJ  := $(patsubst %.c,$(B)/%.o,$(wildcard user/lib/*.c))
CTL_OBJ  := $(patsubst %.c,$(B)/%.o,$(filter-out %.bpf.c,$(wildcard user/ctl/*.c)))
CTL_SKEL := $(patsubst %.bpf.c,$(B)/%.skel.h,$(wildcard user/ctl/*.bpf.c))
# Made on the way to the skeleton, and kept.
.SECONDARY: $(CTL_SKEL:.skel.h=.bpf.o)
EXAMPLES := $(patsubst %.c,$(B)/%,$(filter-out %.bpf.c,$(wildcard user/examples/*.c)))
EXAMPLE_BPF := $(patsubst %.c,$(B)/%.o,$(wildcard user/examples/*.bpf.c))
# Test programs have their names from the source, whatever room that is in.
TEST_SRC := $(filter-out selftests/bpf/% selftests/kmod/%,$(wildcard selftests/*/*.c))
TESTS    := $(patsubst %.c,$(B)/selftests/%,$(notdir $(TEST_SRC)))
vpath %.c $(sort $(dir $(TEST_SRC)))

LIB_A   := $(B)/user/libblkdmabuf.a
LIB_SO  := $(B)/user/libblkdmabuf.so.1
LIB_PC  := $(B)/user/libblkdmabuf.pc
LIB_MAP := user/lib/libblkdmabuf.map
CTL     := $(B)/user/blkdmabufctl

CFLAGS  ?= -O2 -g
OUR_CFLAGS := -std=gnu11 -Wall -Wextra -Werror -D_GNU_SOURCE \
	-DBLKDMABUF_VERSION='"$(VERSION)"' -pthread \
	-Iinclude/uapi -Iuser/lib -I$(B) -I$(B)/bpf -isystem $(LIBBPF_INCLUDE) \
	-isystem $(B)/linux/tools/include/uapi
LIBS    := $(LIBBPF) -luring -lelf -lz -pthread

# By name: as a pattern it would be tried on *.bpf.c, and win.
$(LIB_OBJ) $(CTL_OBJ): $(B)/%.o: %.c Makefile | $(BPF_SKEL) $(CTL_SKEL) $(LIBBPF)
	$(call msg,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(OUR_CFLAGS) $(CFLAGS) -fPIC -MMD -MP -MF $@.d -c $< -o $@

$(LIB_A): $(LIB_OBJ)
	$(call msg,AR,$@)
	$(Q)rm -f $@
	$(Q)$(AR) rcs $@ $^

# libbpf stays inside: only the names in the map file are visible.
$(LIB_SO): $(LIB_OBJ) $(LIB_MAP) $(LIBBPF)
	$(call msg,LD,$@)
	$(Q)$(CC) -shared -Wl,-soname,$(@F) -Wl,--version-script=$(LIB_MAP) \
		-Wl,--exclude-libs,ALL -Wl,-z,defs $(LDFLAGS) -o $@ $(LIB_OBJ) $(LIBS)
	$(Q)ln -sf $(@F) $(@:.1=)

$(LIB_PC): user/lib/libblkdmabuf.pc.in Makefile
	$(Q)mkdir -p $(@D)
	$(Q)sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIB@|$(LIB)|' \
		-e 's|@VERSION@|$(VERSION)|' $< > $@

$(CTL): $(CTL_OBJ) $(LIB_A) $(LIBBPF)
	$(call msg,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $(CTL_OBJ) $(LIB_A) $(LIBS) -ljson-c

# Examples and tests are one file, one program.
define program
	$(call msg,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(OUR_CFLAGS) $(1) $(CFLAGS) -MMD -MP -MF $(@D)/$(<F).d \
		$(LDFLAGS) -o $@ $< $(LIB_A) $(LIBS)
endef

$(EXAMPLES): $(B)/%: %.c
	$(call program)

$(TESTS): $(B)/selftests/%: %.c | $(TEST_SKEL)
	$(call program,-Iselftests)

$(EXAMPLES) $(TESTS): $(LIB_A) $(LIBBPF) Makefile | $(BPF_SKEL)

USER_ALL := $(LIB_A) $(LIB_SO) $(LIB_PC) $(CTL) $(EXAMPLES) $(EXAMPLE_BPF)

.PHONY: user
user: bpf $(USER_ALL) ## library, blkdmabufctl, examples, policies

# The tool once more, so that a mistake with memory ends it. What gcc warns of then
# is not meant for people.
ASAN := $(B)/asan

.PHONY: sanitized
sanitized: user ## blkdmabufctl with ASan and UBSan in build/asan
	$(Q)mkdir -p $(ASAN)
	$(Q)for f in bpf bpftool kernel linux vmlinux.h vmlinux.h.stamp; do \
		ln -sfn ../$$f $(ASAN)/$$f; done
	$(Q)$(MAKE) B=$(ASAN) LDFLAGS=-fsanitize=address,undefined \
		CFLAGS='-O1 -g -fsanitize=address,undefined -w' \
		$(ASAN)/user/blkdmabufctl

# The clang-tidy of the clang that builds the policies. The engine for fio has headers
# of somebody else.
CLANG_TIDY ?= $(CLANG:clang%=clang-tidy%)
LINT := $(filter-out %.bpf.c user/fio/%,$(wildcard user/*/*.c))

.PHONY: lint
lint: user ## clang-tidy over programs and library
	$(Q)command -v $(CLANG_TIDY) > /dev/null || { \
		echo "no $(CLANG_TIDY); run 'make test-deps'" >&2; exit 1; }
	$(Q)$(CLANG_TIDY) --quiet $(LINT) -- $(OUR_CFLAGS) 2> $(B)/log/lint.log || \
		{ cat $(B)/log/lint.log >&2; exit 1; }

# An engine fits the fio whose headers it is built with, which is the installed
# one; its objects are those of the library.
FIO_ENGINE := $(B)/user/blkdmabuf.so

$(B)/fio/version:
	$(Q)user/fio/headers

$(FIO_ENGINE): user/fio/fio-blkdmabuf.c $(LIB_A) $(LIBBPF) $(B)/fio/version Makefile
	$(call msg,LD,$@)
	$(Q)mkdir -p $(B)/$(<D)
	$(Q)$(CC) -std=gnu11 -Wall -Wextra -Werror -D_GNU_SOURCE -pthread \
		-include $(B)/fio/config-host.h -isystem $(B)/fio -Iinclude/uapi \
		-Iuser/lib $(CFLAGS) -fPIC -shared -Wl,-Bsymbolic \
		-MMD -MP -MF $(B)/$<.d -Wl,--exclude-libs,ALL $(LDFLAGS) -o $@ $< \
		$(LIB_A) $(LIBS)

# The installed fio may be another one by now.
.PHONY: fio
fio: bpf ## the engine for the installed fio, build/user/blkdmabuf.so
	$(Q)user/fio/headers
	$(Q)$(MAKE) $(FIO_ENGINE)

.PHONY: selftests
selftests: $(TESTS) $(TEST_OBJ) $(MINE).bpf.o ## the test programs

-include $(wildcard $(addprefix $(B)/,bpf/*.d user/*/*.[co].d selftests/*.c.d \
	selftests/bpf/*.d))

##@ Installing

BINDIR  = $(DESTDIR)$(PREFIX)/bin
# Libraries go to LIB, which distributions call as they like it. Policies do not:
# blkdmabufctl looks for them in ../lib/blkdmabuf.
LIB    := lib
LIBDIR  = $(DESTDIR)$(PREFIX)/$(LIB)
BPFDIR  = $(DESTDIR)$(PREFIX)/lib/blkdmabuf
INCDIR  = $(DESTDIR)$(PREFIX)/include
MANDIR  = $(DESTDIR)$(PREFIX)/share/man
COMPDIR = $(DESTDIR)$(PREFIX)/share/bash-completion/completions
ZSHDIR  = $(DESTDIR)$(PREFIX)/share/zsh/site-functions
DOCDIR  = $(DESTDIR)$(PREFIX)/share/doc/blkdmabuf

# Each page, below the directory of its section; and for each further name in
# its NAME section, "name.section=page", a page that is the same by .so. Section 1
# is of the engine for fio, which is not installed.
MAN_PAGES := $(wildcard user/man/*.[2-8])
MAN_ALIASES := $(shell awk ' \
	FNR == 1 { page = FILENAME; sub(/.*\//, "", page); \
		   section = substr(page, length(page)) } \
	/^\.Sh / { name = $$2 == "NAME" } \
	name && /^\.Nm / && $$2 "." section != page { \
		   print $$2 "." section "=" page }' $(MAN_PAGES))
# man3/name.3 for name.3
man_path = $(foreach page,$(notdir $(1)),man$(subst .,,$(suffix $(page)))/$(page))
MAN_FILES := $(call man_path,$(MAN_PAGES) $(foreach a,$(MAN_ALIASES),\
	$(firstword $(subst =, ,$(a)))))

EXAMPLE_SRC := $(wildcard user/examples/*.[ch])

.PHONY: install
install: user ## install below DESTDIR and PREFIX
	install -d $(BINDIR) $(LIBDIR)/pkgconfig $(LIBDIR)/blkdmabuf $(BPFDIR) \
		$(INCDIR)/linux $(addprefix $(MANDIR)/,$(sort $(dir $(MAN_FILES)))) \
		$(COMPDIR) $(ZSHDIR) $(DOCDIR)/examples
	install -m 755 $(CTL) $(BINDIR)
	install -m 644 $(LIB_A) $(LIBDIR)
	install -m 755 $(LIB_SO) $(LIBDIR)
	ln -sf $(notdir $(LIB_SO)) $(LIBDIR)/libblkdmabuf.so
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIB@|$(LIB)|' \
		-e 's|@VERSION@|$(VERSION)|' \
		user/lib/libblkdmabuf.pc.in > $(LIBDIR)/pkgconfig/libblkdmabuf.pc
	chmod 644 $(LIBDIR)/pkgconfig/libblkdmabuf.pc
	install -m 644 user/lib/libblkdmabuf.h bpf/blkdmabuf.bpf.h $(INCDIR)
	install -m 644 include/uapi/linux/blk-dmabuf.h $(INCDIR)/linux
	install -m 644 $(BPF_OBJ) $(BPFDIR)
	install -m 644 $(LIBBPF) $(LIBDIR)/blkdmabuf
	for page in $(MAN_PAGES); do \
		install -m 644 $$page $(MANDIR)/man$${page##*.} || exit; \
	done
	for alias in $(MAN_ALIASES); do \
		name=$${alias%%=*} page=$${alias##*=}; \
		name=$(MANDIR)/man$${name##*.}/$$name; \
		echo ".so man$${page##*.}/$$page" > $$name && \
			chmod 644 $$name || exit; \
	done
	install -m 644 user/ctl/blkdmabufctl.bash $(COMPDIR)/blkdmabufctl
	install -m 644 user/ctl/blkdmabufctl.zsh $(ZSHDIR)/_blkdmabufctl
	install -m 644 $(EXAMPLE_SRC) $(DOCDIR)/examples

.PHONY: deb
deb: bpf ## Debian packages of it in build/deb
	$(Q)packaging/deb

.PHONY: uninstall
uninstall: ## remove what install put there
	rm -f $(BINDIR)/blkdmabufctl $(LIBDIR)/libblkdmabuf.a \
		$(LIBDIR)/libblkdmabuf.so $(LIBDIR)/$(notdir $(LIB_SO)) \
		$(LIBDIR)/pkgconfig/libblkdmabuf.pc $(INCDIR)/libblkdmabuf.h \
		$(INCDIR)/blkdmabuf.bpf.h $(INCDIR)/linux/blk-dmabuf.h \
		$(COMPDIR)/blkdmabufctl $(ZSHDIR)/_blkdmabufctl
	rm -f $(addprefix $(MANDIR)/,$(MAN_FILES))
	rm -f $(addprefix $(BPFDIR)/,$(notdir $(BPF_OBJ))) \
		$(LIBDIR)/blkdmabuf/$(notdir $(LIBBPF))
	rm -f $(addprefix $(DOCDIR)/examples/,$(notdir $(EXAMPLE_SRC)))
	-rmdir $(sort $(LIBDIR)/blkdmabuf $(BPFDIR)) $(DOCDIR)/examples $(DOCDIR)
