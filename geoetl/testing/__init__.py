"""What tests of this project and of plug-ins need: random styles, layers and features; an outside source; handlers."""
