// Package mutants proves that the tests can fail. Each *.patch beside this file breaks the product in one way that matters
// (a sync that is skipped, an acknowledgement that comes too early) and names the test that has to notice; the runner
// applies it with go test -overlay, so that the product carries no hooks for it, and requires that test to fail.
//
// A patch is a unified diff of one file, below header lines:
//
//	mutant: what is broken, and what a user would lose by it
//	test:   TestName ./package
//
//	--- a/path/from/the/module's/root.go
//	+++ b/path/from/the/module's/root.go
//
// go test checks that every patch still applies. To run them all:
//
//	ACKLINE_NIGHTLY=1 go test ./broker/mutants
//
// and one of them, or all, by name:
//
//	go test -run Mutants/wal-skip-sync ./broker/mutants
package mutants
