// Command hostinfo prints the fingerprint of this machine: what must be equal before two figures may be compared.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/alecthomas/kong"

	"ackline/tools/hostinfo/fingerprint"
	"ackline/tools/version"
)

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

type cli struct {
	Dir     string           `default:"." type:"existingdir" help:"Directory whose disk is meant (${default})."`
	JSON    bool             `name:"json" help:"Print one JSON object: digest and fields."`
	Version kong.VersionFlag `help:"Print the commit and exit."`
}

// run returns 0, 1 when the host cannot be read and 2 when the command line cannot be right.
func run(_ context.Context, args []string, stdout, stderr io.Writer) int {
	var c cli
	exit := -1
	p := kong.Must(&c, kong.Name("hostinfo"), kong.Writers(stdout, stderr), kong.Exit(func(code int) { exit = code }),
		kong.Vars{"version": version.String()},
		kong.Description("Prints what a latency depends on besides the program: processor, kernel, file system, disk, virtualization, "+
			"settings. Fields marked * take part in the digest; figures from hosts with different digests are not compared."))
	_, err := p.Parse(args)
	if exit >= 0 {
		return exit
	}
	if err != nil {
		fmt.Fprintf(stderr, "hostinfo: %v (hostinfo --help explains)\n", err)
		return 2
	}
	dir, err := filepath.EvalSymlinks(c.Dir)
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err != nil {
		fmt.Fprintln(stderr, "hostinfo:", err)
		return 1
	}
	info, err := fingerprint.Collect(os.DirFS("/"), dir)
	if err != nil {
		fmt.Fprintln(stderr, "hostinfo:", err)
		return 1
	}
	if c.JSON {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		err = e.Encode(info)
	} else {
		err = table(stdout, info)
	}
	if err != nil {
		fmt.Fprintln(stderr, "hostinfo:", err)
		return 1
	}
	return 0
}

func table(out io.Writer, info fingerprint.Info) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "  digest\t%s\n", info.Digest)
	for _, f := range info.Fields {
		mark := " "
		if f.Match {
			mark = "*"
		}
		fmt.Fprintf(w, "%s %s\t%s\n", mark, f.Name, f.Value)
	}
	return w.Flush()
}
