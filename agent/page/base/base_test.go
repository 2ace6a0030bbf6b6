package base

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestContrast measures the contrast of each colour of text on what is behind it, in both themes: 4.5 at least, as
// WCAG 2 AA asks.
func TestContrast(t *testing.T) {
	pairs := [][2]string{
		{"text", "back"}, {"text", "card"}, {"soft", "back"}, {"soft", "card"}, {"soft", "track"}, {"card", "accent"},
		{"best-text", "best-back"}, {"fair-text", "fair-back"}, {"poor-text", "poor-back"}, {"worst-text", "worst-back"},
	}
	themes := strings.SplitN(baseStyle, "@media (prefers-color-scheme: dark)", 2)
	for theme, style := range themes {
		colors := make(map[string]float64)
		for _, match := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{3,6});`).FindAllStringSubmatch(style, -1) {
			colors[match[1]] = luminance(t, match[2])
		}
		for _, pair := range pairs {
			a, b := colors[pair[0]], colors[pair[1]]
			if contrast := (max(a, b) + 0.05) / (min(a, b) + 0.05); contrast < 4.5 || len(colors) < 15 {
				t.Errorf("theme %d: %s on %s has the contrast %.2f", theme, pair[0], pair[1], contrast)
			}
		}
	}
}

// luminance returns the relative luminance of WCAG 2 for a color of three or six hexadecimal digits.
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	if len(hex) == 3 {
		hex = strings.Join([]string{hex[:1], hex[:1], hex[1:2], hex[1:2], hex[2:], hex[2:]}, "")
	}
	sum := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, err := strconv.ParseUint(hex[2*i:2*i+2], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		channel := float64(n) / 255
		if channel <= 0.04045 {
			channel /= 12.92
		} else {
			channel = math.Pow((channel+0.055)/1.055, 2.4)
		}
		sum += weight * channel
	}
	return sum
}
