package lint

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// unwanted is text that may stand in no file. The expressions and hints are written so that they do not match
// themselves. A file without any of a rule's hints needs no closer look: the expressions alone would take seconds.
var unwanted = []struct {
	hints []string // in lower case
	re    *regexp.Regexp
	what  string
}{
	{[]string{"to" + "do", "fix" + "me", "xx" + "x"}, regexp.MustCompile(`\b(TO[D]O|FIX[M]E|XX[X])\b`),
		"is a promise that nobody keeps: do it, or say in ARCHITECTURE.md why not"},
	{[]string{"for" + " now"}, regexp.MustCompile(`(?i)\bfor[ ]now\b`),
		"says that something better is coming: do it, or say what is and why"},
	{[]string{"not" + " implemented"}, regexp.MustCompile(`(?i)not[ ]implemented`),
		"announces a gap: say what would be right instead"},
	{[]string{"/ho" + "me", "/ro" + "ot", "/wo" + "rk", "/us" + "ers"},
		regexp.MustCompile(`(?:^|[^\w./~$}])/(?:ho[m]e|ro[o]t|wo[r]k|Us[e]rs)(?:/|\b)`),
		"is a path of one machine: use a path below the repository, a flag or t.TempDir()"},
	{[]string{"golang" + ".org", "goproxy", "npmjs", "pythonhosted", "pypi", "crates", "docker", "ghcr", "quay", "debian", "ubuntu"},
		regexp.MustCompile(`(?:proxy|sum|index)\.golang\.org|goproxy\.(?:io|cn)|registry\.npmjs\.org|files\.pythonhosted\.org|` +
			`(?:^|\W)pypi\.org|(?:^|\W)crates\.io|docker\.io|ghcr\.io|quay\.io|deb\.debian\.org|archive\.ubuntu\.com`),
		"names a package registry: leave the choice of it to the ordinary client's own configuration"},
}

// Texts checks every text file for what must not be left in one. Of RESULTS.md only the part for people is read; the
// folded raw data is base64, in which anything may occur.
func Texts(t *Tree) []Problem {
	var out []Problem
	for _, f := range t.Texts {
		if base := path.Base(f.Name); base == "LICENSE" || base == "go.sum" {
			continue
		}
		content := f.Content
		if i := strings.Index(content, "\n<details>"); f.Name == "RESULTS.md" && i >= 0 {
			content = content[:i]
		}
		lower := strings.ToLower(content)
		for _, u := range unwanted {
			if !slices.ContainsFunc(u.hints, func(h string) bool { return strings.Contains(lower, h) }) {
				continue
			}
			for i, line := range strings.Split(content, "\n") {
				if m := u.re.FindString(line); m != "" {
					out = append(out, Problem{fmt.Sprintf("%s:%d", f.Name, i+1), fmt.Sprintf("%q %s", strings.TrimSpace(m), u.what)})
				}
			}
		}
	}
	return out
}
