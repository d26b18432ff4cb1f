package node

import (
	"fmt"
	"os"

	"ackline/profiles/strict"
)

// LoadConfig reads a TOML file over the defaults. Unknown keys are errors that name file, line and the nearest key.
func LoadConfig(path string) (Config, error) {
	c := DefaultConfig()
	text, err := os.ReadFile(path)
	if err != nil {
		return c, fmt.Errorf("--config: %w", err)
	}
	return c, strict.Decode(path, "broker configuration", text, &c)
}
