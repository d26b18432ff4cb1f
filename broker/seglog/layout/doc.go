// Package layout is what a log's files look like: their names, the header and the rows of an index file, the checkpoint that
// says how long they are; and the search among rows. The problem: a partition of any size must be entered by index, by
// offset, by byte position and by time with no row of it kept in memory, and a row that is damaged, or that belongs
// elsewhere, must not be believed. So rows have a fixed size and stand where their index says; each carries a checksum that
// covers its place; and what it must be searched by never falls from one row to the next.
package layout
