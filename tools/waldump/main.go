// Command waldump prints what a node's write-ahead log holds, as a person or a script reads it. It only reads.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/alecthomas/kong"

	"ackline/broker/id"
	"ackline/broker/vfs"
	"ackline/broker/wal/ring"
	"ackline/tools/version"
)

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

type cli struct {
	Path    string           `arg:"" type:"path" help:"A WAL file, or a node's data directory."`
	Group   uint64           `placeholder:"N" help:"Print only the records of this group."`
	From    uint64           `placeholder:"LSN" help:"Print only batches from this LSN on."`
	Verify  bool             `help:"Print no batches; check every record and entry too, and say what was found."`
	JSON    bool             `name:"json" help:"Print JSON, one object per line: superblocks, batches with their records, the end."`
	Version kong.VersionFlag `help:"Print the commit and exit."`
}

const description = "Prints a node's write-ahead log: the superblocks, the live batches in the order in which they were written, " +
	"each with its records, then where the log ends and why.\n\n" +
	"An LSN is a byte position that only ever grows; pos is the place in the file where it lies now. A torn batch at the " +
	"end was being written when the power went and was never acknowledged: that is no fault. DAMAGED means that something " +
	"which had been synced is no longer what it was; batches behind it are marked with an exclamation mark.\n\n" +
	"A log that a running node writes may be seen in the middle of a change. Exits with 1 if the log is damaged or cannot be read."

// ringName is the WAL's name in a data directory.
const ringName = "wal.ring"

// run returns 0, 1 when the log is damaged or cannot be read, and 2 when the command line cannot be right.
func run(_ context.Context, args []string, stdout, stderr io.Writer) int {
	var c cli
	exit := -1
	p := kong.Must(&c, kong.Name("waldump"), kong.Writers(stdout, stderr), kong.Exit(func(code int) { exit = code }),
		kong.Vars{"version": version.String()}, kong.Description(description))
	_, err := p.Parse(args)
	if exit >= 0 {
		return exit
	}
	if err != nil {
		fmt.Fprintf(stderr, "waldump: %v (waldump --help explains)\n", err)
		return 2
	}
	buffered := bufio.NewWriter(stdout)
	sound, err := dump(&c, vfs.OS(), buffered)
	if err = errors.Join(err, buffered.Flush()); err != nil {
		fmt.Fprintln(stderr, "waldump:", err)
		return 1
	}
	if !sound {
		return 1
	}
	return 0
}

// dump prints the log and tells whether it is sound.
func dump(c *cli, fsys vfs.FS, out io.Writer) (sound bool, err error) {
	path := c.Path
	if info, err := fsys.Stat(path); err != nil {
		return false, err
	} else if info.Dir {
		path = filepath.Join(path, ringName)
	}
	f, s, err := ring.OpenReadOnly(fsys, path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	both, err := f.Supers()
	if err != nil {
		return false, err
	}
	var pr printer = &text{out: out}
	if c.JSON {
		pr = newLines(out)
	}
	pr.file(path, f, s.Seq, both)
	d := &dumper{cli: c, file: f, print: pr}
	v, err := ring.NewScan(f, s).Run(d.batch, d.lost)
	if err != nil {
		return false, err
	}
	d.end.Verdict = v
	err = f.Leftovers(v.End, s.Head+id.LSN(f.Size()), d.leftover)
	pr.end(f, &d.end)
	return v.Damage == nil && d.end.Malformed == 0, err
}
