package suite

import (
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"ackline/broker/syncmethod"
	"ackline/tools/bench/proc"
	"ackline/tools/bench/record"
	"ackline/tools/floor/echo"
	"ackline/tools/hostinfo/fingerprint"
	"ackline/tools/version"
)

// Take makes c go on with the run in dir, an out directory or the link to the latest: with its seed, into its directory. It is an
// error if a launch from now on could not stand beside those that are there.
func (c *Config) Take(dir string) error {
	at, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	r, err := record.Read(at)
	if err != nil {
		return err
	}
	if differ := c.differ(r); len(differ) > 0 {
		return fmt.Errorf("%s cannot be gone on with, because it was measured otherwise (then / now):\n  %s", dir, strings.Join(differ, "\n  "))
	}
	c.taken, c.takenFrom, c.Seed = r, at, r.Seed
	if c.missing() == 0 {
		return fmt.Errorf("%s is whole: all of its %d launches are there", dir, c.total())
	}
	return nil
}

// differ says in what r is not of the run that c would be.
func (c *Config) differ(r *record.Results) (out []string) {
	for _, f := range []struct{ what, then, now string }{
		{"suite", r.Suite, c.Suite.Name},
		{"profiles, scenarios or launches (digest)", r.ProfileDigest, c.Suite.Digest()},
		{"commit", r.Commit, version.Commit()},
		{"Go", r.GoVersion, runtime.Version()},
		{"floor version", strconv.Itoa(r.FloorVersion), strconv.Itoa(echo.Version)},
		{"directory", r.Dir, c.Dir},
	} {
		if f.then != f.now {
			out = append(out, fmt.Sprintf("%s: %s / %s", f.what, f.then, f.now))
		}
	}
	return append(out, fingerprint.Differ(r.Host, c.Place.Host)...)
}

// Done is how many launches are there already, of how many.
func (c *Config) Done() (done, total int) { return c.total() - c.missing(), c.total() }

// missing counts the launches that have not been run.
func (c *Config) missing() (n int) {
	for _, sc := range c.Suite.Scenarios {
		for number := range c.Suite.LaunchesOf(sc) {
			if !c.has(sc.Name, number+1) {
				n++
			}
		}
	}
	return n
}

// has says that a launch was run before. One that failed is not run again: what it says of the brokers stays true.
func (c *Config) has(scenario string, number int) bool {
	return c.taken != nil && slices.ContainsFunc(c.taken.Launches, func(l record.Launch) bool { return l.Scenario == scenario && l.Number == number })
}

// resume is results of a run that was taken. What was found out when it began stays: which sync method is fastest, and how large rings are.
func (c *Config) resume() (*record.Results, error) {
	r := c.taken
	if _, err := syncmethod.Parse(r.SyncMethod); err != nil && c.Elsewhere == nil {
		return r, err
	}
	for i := range c.Suite.Scenarios {
		if size := r.Scenarios[i].Configuration["ring_bytes"]; size != "" {
			var err error
			if c.Suite.Scenarios[i].Workload.RingBytes, err = strconv.ParseInt(size, 10, 64); err != nil {
				return r, fmt.Errorf("scenario %s: ring_bytes: %w", r.Scenarios[i].Name, err)
			}
		}
	}
	done, _ := c.Done()
	note := func(s string) {
		if !slices.Contains(r.Notes, s) {
			r.Notes = append(r.Notes, s)
		}
	}
	for _, s := range c.Notes {
		note(s)
	}
	note(fmt.Sprintf("measured in more than one sitting: gone on with at %s UTC, behind launch %d of %d", c.Started.UTC().Format(time.DateTime), done, c.total()))
	if err := proc.Prefer(); err != nil {
		note(noPrecedence(err))
	}
	return r, nil
}

func noPrecedence(err error) string {
	return fmt.Sprintf("the client has no precedence over what it measures (%v): with few CPUs more launches will be invalid", err)
}
