"""Quality beside diversity: how good answers are, and what a loss of diversity is made of."""
