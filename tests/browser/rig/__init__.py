"""What the browser tests stand on: a real browser, real servers, and eyes for what a page does wrong."""
