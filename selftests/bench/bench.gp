# SPDX-License-Identifier: GPL-2.0-only
#
# The charts of selftests/bench/bench, which sets data, out, kind and iommu.

set terminal svg size 960,480 dynamic background rgb 'white' \
	font 'Helvetica,Arial,sans-serif,14' linewidth 1
set output out
set datafile separator "\t"
set datafile missing "nan"
set style data histogram
set style histogram clustered gap 1.2
set style fill solid 1.0 noborder
set boxwidth 0.9
set border 3 linecolor rgb '#606060'
set tics nomirror scale 0.5
set grid ytics linecolor rgb '#d8d8d8' linetype 1
set key outside bottom center horizontal noenhanced
set xrange [-0.6:*]
set xtics noenhanced

if (kind eq 'instructions') {
	# What is compared spans two powers of ten.
	set title "Instructions per read, IOMMU ".iommu.", scattered pages, interrupts" noenhanced
	set logscale y
	set yrange [1000:*]
	set format y '%.0s %c'
	set ylabel 'instructions of the guest, log scale'
	plot data using 2:xtic(1) title columnheader linecolor rgb '#b8bcc4', \
		'' using 3 title columnheader linecolor rgb '#7c828e', \
		'' using 4 title columnheader linecolor rgb '#e0a03c', \
		'' using 5 title columnheader linecolor rgb '#1f77b4', \
		'' using 6 title columnheader linecolor rgb '#7fb8e0'
} else {
	set title "I/Os per second on a dma-buf, times those with registered buffers" noenhanced
	set ylabel 'ratio in the same IOMMU mode'
	set yrange [0:*]
	set arrow from graph 0,first 1 to graph 1,first 1 nohead \
		linecolor rgb '#c03030' dashtype 2 front
	plot data using 2:xtic(1) title columnheader linecolor rgb '#1f77b4', \
		'' using 3 title columnheader linecolor rgb '#7fb8e0', \
		'' using 4 title columnheader linecolor rgb '#e0a03c'
}
