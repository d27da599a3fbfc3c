/** A choice in a list. `value` must not be empty: Reka keeps '' for "nothing chosen". */
export interface Option<V extends string = string> {
  value: V;
  label: string;
  hint?: string;
  disabled?: boolean;
}
